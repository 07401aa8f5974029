// One model call for many sequences: ragged tokens in, fp32 logits of the wanted rows out.
//
//   ModelRunner runner(model);
//   nn::CacheSequence sequence = runner.cache().new_sequence();
//   Feed feed{.cache = &sequence, .ids = prompt};
//   Outputs out = runner.run({&feed, 1});                    // logits [1, V] after the last token
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "caravan/models/heads.h"
#include "caravan/nn/kv_cache.h"

namespace caravan::generate {

using at::Tensor;

// New tokens of one sequence.
struct Feed {
  nn::CacheSequence* cache = nullptr;
  std::vector<int32_t> ids = {};
  Tensor embeddings = {};  // [n, C] instead of ids
  int64_t rows = 1;        // logits of the last `rows` tokens
  bool hidden = false;     // also the final hidden states of all new tokens
  int64_t prefix = 0;      // of a new sequence: its first tokens, which all of its tokens see (nn/step.h)
  int64_t tokens() const { return embeddings.defined() ? embeddings.size(0) : std::ssize(ids); }
};

struct Outputs {
  Tensor logits;  // [R, V] fp32, the feeds' rows one after another; free to be changed in place
  Tensor hidden;  // [n, C] fp32 of the feeds that asked
};

class ModelRunner {
 public:
  explicit ModelRunner(models::CausalLm& model, std::optional<at::ScalarType> cache_dtype = std::nullopt);
  Outputs run(std::span<Feed> feeds);
  nn::KvCache& cache() { return cache_; }
  models::CausalLm& model() { return *model_; }
  int64_t vocab_size() const { return vocab_size_; }
  int64_t tokens_run() const { return tokens_run_; }  // tokens that went through the model so far

 private:
  Tensor forward(std::span<Feed> feeds, int64_t tokens);  // [T, C]
  models::CausalLm* model_;
  at::ScalarType dtype_;
  at::Device device_;
  nn::KvCache cache_;
  int64_t vocab_size_;
  int64_t tokens_run_ = 0;
};

}  // namespace caravan::generate
