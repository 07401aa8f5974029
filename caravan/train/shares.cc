#include "caravan/train/shares.h"

#include <algorithm>

namespace caravan::train {
namespace {

// Each sequence, longest first as a batch holds them, to the process with the fewest tokens (Graham 1969).
std::vector<Example> split(std::vector<Example> examples, int rank, int size) {
  std::vector<size_t> tokens(static_cast<size_t>(size), 0);
  std::vector<Example> mine;
  for (Example& example : examples) {
    const auto least = std::min_element(tokens.begin(), tokens.end());
    *least += example.ids.size();
    if (least - tokens.begin() == rank) mine.push_back(std::move(example));
  }
  return mine;
}

}  // namespace

Window share_of(std::vector<std::vector<Example>> batches, int rank, int size) {
  Window window;
  const size_t whole = batches.size() / static_cast<size_t>(size) * static_cast<size_t>(size);
  for (size_t i = 0; i < batches.size(); ++i) {
    for (const Example& example : batches[i]) {
      window.targets += target_count(example);
      window.tokens += static_cast<int64_t>(example.ids.size());
    }
    if (i >= whole) batches[i] = split(std::move(batches[i]), rank, size);
    const bool mine = i >= whole || static_cast<int>(i % static_cast<size_t>(size)) == rank;
    if (mine && !batches[i].empty()) window.batches.push_back(make_batch(batches[i]));
  }
  return window;
}

}  // namespace caravan::train
