// Where the items' own tokens begin: at vectors of the items (text, co-occurrence) instead of at random, so that items
// that resemble each other resemble each other from the first step on, the rare ones too.
//
//   start_items(lm, {.first = 772, .count = 12101}, read_item_vectors("vectors.safetensors", 12101));
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "caravan/items/prompt.h"
#include "caravan/models/heads.h"

namespace caravan::train {

// The only matrix of a safetensors file (`caravan items build --save-vectors`), [N, D] in the catalogue's order.
at::Tensor read_item_vectors(const std::string& path, int64_t items);

// The rows of the input embeddings, and of the head where it is its own, become the vectors' first C principal
// components, scaled to the standard deviation `std` on average: distances keep their proportions. Columns beyond D
// keep their random values.
void start_items(models::CausalLm& lm, const items::TokenRun& run, const at::Tensor& vectors, double std);

}  // namespace caravan::train
