// Why an item was recommended: which items of the history are like it, by the codes they begin with in common and by
// the cosine of their code embeddings (the mean over levels of the input embeddings' cosines).
//
//   for (const Resemblance& r : resembling(model, item, history, 3)) show(r.item, r.shared_levels, r.cosine);
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "caravan/generate/recommender.h"

namespace caravan::generate {

struct Resemblance {
  int32_t item = 0;           // of the history
  int64_t shared_levels = 0;  // codes that both begin with
  float cosine = 0;
};

// The `most` most alike ones, each item once: more shared levels first, then the larger cosine.
std::vector<Resemblance> resembling(ItemModel& model, int32_t item, std::span<const int32_t> history, size_t most);

}  // namespace caravan::generate
