// Step: what one model call works on. Hidden states are [T, C]: the new tokens of all sequences one after another, and
// the Step says where each sequence starts, its positions and its cache. There is no padding and no 4-D mask. Training
// (packed sequences), prefill, decode, beams and speculative verification differ only in their Steps.
//
//   Step step = Step::packed({5, 3});                       // two sequences of 5 and 3 tokens, no cache
//   Step step = Step::cached(cache, {&a, &b}, {5, 1});      // a gets 5 new tokens, b one
//   Step step = tree.prompts({5, 3});                       // a search over trees of tokens (tree_cache.h)
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "caravan/nn/kv_cache.h"

namespace caravan::nn {

// Inner values that a caller asked for, in transformers' order.
struct Capture {
  bool want_hidden_states = false, want_attentions = false;
  std::vector<Tensor> hidden_states;            // embeddings, then every layer's output; the last one is normed
  std::vector<std::vector<Tensor>> attentions;  // [layer][sequence]: [H, new tokens, all tokens]
};

class TreeCache;

struct Step {
  std::vector<int64_t> starts;  // [B + 1] rows of the sequences: sequence b is rows starts[b] .. starts[b + 1]
  Tensor positions;             // [T] int64: position of each row in its sequence
  KvCache* cache = nullptr;     // none in training
  std::vector<CacheSequence*> sequences;  // [B] where there is a cache; already extended by the new tokens
  TreeCache* tree = nullptr;              // instead of `cache` in a search over trees
  // [B] tokens at the beginning of each sequence that all of its tokens see, later ones too (prefix-LM); empty: none.
  // They must be new in one step: what is cached does not change any more.
  std::vector<int64_t> prefixes;
  Capture* capture = nullptr;
  // Rows whose hidden states are asked for, ascending; empty: all. The last layer, for which the model sets `narrow`,
  // need not compute more of the others than their keys and values; where it returns these rows alone it sets
  // `narrowed`. CausalLm::hidden selects them otherwise.
  std::vector<int64_t> output_rows;
  bool narrow = false, narrowed = false;
  Tensor cos, sin;  // [T, R] rotary tables, put here by the model before its layers run
  // Only for batches that carry padding as transformers does (models/padded_batch.h): [B, W] bool, false where a key is
  // padding. All sequences are W long then and there is no cache.
  Tensor visible_keys;
  // Length that the rotary scaling counts with (dynamic NTK, longrope) for all sequences; 0: each one's own, its
  // largest position + 1.
  int64_t rotary_length = 0;

  int64_t batch() const { return static_cast<int64_t>(starts.size()) - 1; }
  int64_t tokens() const { return starts.back(); }
  int64_t past(int64_t b) const {  // cached tokens of sequence b before this call
    return cache == nullptr ? 0 : sequences[b]->length() - (starts[b + 1] - starts[b]);
  }

  Tensor output_index() const;  // output_rows as int64 on the positions' device

  static Step packed(std::span<const int64_t> lengths, at::Device device = at::kCPU);
  // Extends every sequence by its number of new tokens.
  static Step cached(KvCache& cache, std::vector<CacheSequence*> sequences, std::span<const int64_t> lengths);
};

}  // namespace caravan::nn
