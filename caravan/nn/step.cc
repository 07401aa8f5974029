#include "caravan/nn/step.h"

#include <torch/torch.h>

#include "caravan/base/error.h"

namespace caravan::nn {
namespace {

Step layout(std::span<const int64_t> lengths) {
  Step step;
  step.starts = {0};
  for (int64_t n : lengths) {
    check(n > 0, ErrorCode::invalid_argument, "every sequence of a step needs at least one token, got {}", n);
    step.starts.push_back(step.starts.back() + n);
  }
  check(step.batch() > 0, ErrorCode::invalid_argument, "a step needs at least one sequence");
  return step;
}

// Positions first[b], first[b] + 1, ... of every sequence.
Tensor positions(const Step& step, const std::vector<int64_t>& first, at::Device device) {
  Tensor result = at::empty({step.tokens()}, at::kLong);
  auto* p = result.mutable_data_ptr<int64_t>();
  for (int64_t b = 0; b < step.batch(); ++b) {
    for (int64_t row = step.starts[b]; row < step.starts[b + 1]; ++row) p[row] = first[b] + row - step.starts[b];
  }
  return result.to(device);
}

}  // namespace

Tensor Step::output_index() const {
  return at::tensor(at::ArrayRef<int64_t>(output_rows), at::kLong).to(positions.device());
}

Step Step::packed(std::span<const int64_t> lengths, at::Device device) {
  Step step = layout(lengths);
  step.positions = nn::positions(step, std::vector<int64_t>(lengths.size(), 0), device);
  return step;
}

Step Step::cached(KvCache& cache, std::vector<CacheSequence*> sequences, std::span<const int64_t> lengths) {
  check(sequences.size() == lengths.size(), ErrorCode::invalid_argument, "{} cached sequences for {} lengths",
        sequences.size(), lengths.size());
  Step step = layout(lengths);
  std::vector<int64_t> first;
  for (size_t b = 0; b < sequences.size(); ++b) {
    first.push_back(sequences[b]->length());
    cache.extend(*sequences[b], lengths[b]);
  }
  step.cache = &cache;
  step.sequences = std::move(sequences);
  step.positions = nn::positions(step, first, cache.device());
  return step;
}

}  // namespace caravan::nn
