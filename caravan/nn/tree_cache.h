// Keys and values of a search over trees of tokens: prompts, then generations of rows, each row one token that goes on
// from a row of the generation before. All rows of a prompt share its keys, and nothing is copied where they part.
//
//   TreeCache cache(layers);
//   Step first = cache.prompts({80, 60});                  // forgets what was there
//   Step beams = cache.branch({0, 50, 100}, parents);      // 50 rows behind each prompt
//
// Inference only. Not thread-safe: one search owns a cache.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "caravan/nn/step.h"
#include "caravan/ops/tree_attention.h"

namespace caravan::nn {

class TreeCache {
 public:
  explicit TreeCache(int64_t layers, at::Device device = at::kCPU) : device_(device), layers_(layers) {}

  Step prompts(std::span<const int64_t> lengths);
  // Rows starts[u] .. starts[u + 1] go on behind prompt u; row r from row parents[r] of the generation before, which in
  // the first generation is not looked at.
  Step branch(std::vector<int64_t> starts, std::span<const int64_t> parents);

  // What nn::attend does for such a step: keeps the layer's keys and values, and attends.
  Tensor attend(int64_t layer, const Tensor& q, const Tensor& k, const Tensor& v, const ops::AttentionSpec& spec,
                const Step& step);

 private:
  struct Layer {
    ops::TreePrompts prompts;
    std::vector<Tensor> keys, values;  // of each generation [R, K, D]
  };
  at::Device device_;
  std::vector<Layer> layers_;
  std::vector<int64_t> prompt_starts_;  // [U + 1]
  std::vector<int64_t> row_starts_;     // [U + 1] of the newest generation
  std::vector<int64_t> paths_;          // [rows, generations]
  int64_t generations_ = 0;
};

}  // namespace caravan::nn
