// Causal attention within each sequence of a ragged batch, for training: one call of libtorch's attention for many
// sequences of similar length. Padding at the end of a sequence is harmless there: no token sees it, and its own rows
// are dropped.
//
//   Tensor o = packed_attention(q, k, v, {0, 5, 8}, {.scale = 0.125});      // two sequences, 5 and 3 tokens
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "caravan/ops/attention.h"

namespace caravan::ops {

// Sequence b is rows starts[b] .. starts[b + 1] of q [T, H, D] and of k, v [T, K, D] -> [T, H, D]. Differentiable.
// spec.visible_keys must be undefined and spec.causal set. The first prefixes[b] tokens of sequence b, where given, are
// seen by all of its tokens (prefix-LM).
Tensor packed_attention(const Tensor& q, const Tensor& k, const Tensor& v, const std::vector<int64_t>& starts,
                        const AttentionSpec& spec, std::span<const int64_t> prefixes = {});

// Sequences [first, last), padded to `longest`.
struct SequenceGroup {
  int64_t first = 0, last = 0, longest = 0;
};

// Neighbouring sequences whose lengths differ little enough that padding them costs little.
std::vector<SequenceGroup> group_by_length(const std::vector<int64_t>& starts);

}  // namespace caravan::ops
