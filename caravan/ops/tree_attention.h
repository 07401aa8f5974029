// Attention of a search whose rows share prompts: the tokens of the prompts, and the rows that branch off behind them.
// Keys and values stay where the layers put them; a row that goes on from another names its path.
//
//   TreePrompts prompts = pack_prompts(k, v, {0, 80, 140});           // two prompts of 80 and 60 tokens
//   Tensor o = prompt_attention(q, prompts, {}, spec);                 // [T, H, D]
//   Tensor p = branch_attention(q, prompts, branches, spec);           // [R, H, D], one token a row
//
// Inference only. The result of a row does not depend on the other rows or on the number of threads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "caravan/ops/attention.h"

namespace caravan::ops {

// One layer's keys and values of all prompts.
struct TreePrompts {
  std::vector<int64_t> starts;         // [U + 1] tokens
  int64_t kv_heads = 0, width = 0;     // K, D
  Tensor keys, values;                 // [T, K, D]; undefined where packed
  Tensor packed_keys, packed_values;   // fp32 in the kernel's layout, a head after another; undefined without a kernel
  std::vector<int64_t> packed_starts;  // [U] rows of D in packed_keys, times K

  int64_t tokens(int64_t prompt) const { return starts[prompt + 1] - starts[prompt]; }
};

// Rows behind the prompts in generations: every row of generation g goes on from one of generation g - 1.
struct TreeBranches {
  std::vector<int64_t> starts;   // [U + 1] rows of the newest generation, by prompt
  std::span<const Tensor> keys;  // of every generation [R_g, K, D]
  std::span<const Tensor> values;
  std::span<const int64_t> paths;  // [R, generations]: the row of each generation that leads here, itself the last
};

// k, v [T, K, D] of prompts [starts[u], starts[u + 1]).
TreePrompts pack_prompts(const Tensor& k, const Tensor& v, std::vector<int64_t> starts);

// q [T, H, D], or only `rows` of it (ascending): [rows, H, D] -> the same shape. Causal, or bidirectional within each
// prompt, as the spec says.
Tensor prompt_attention(const Tensor& q, const TreePrompts& prompts, std::span<const int64_t> rows,
                        const AttentionSpec& spec);

// q [R, H, D]: each row sees its whole prompt and its path.
Tensor branch_attention(const Tensor& q, const TreePrompts& prompts, const TreeBranches& branches,
                        const AttentionSpec& spec);

namespace reference {
// Prompts with `keys` and `values`.
Tensor prompt_attention(const Tensor& q, const TreePrompts& prompts, std::span<const int64_t> rows,
                        const AttentionSpec& spec);
Tensor branch_attention(const Tensor& q, const TreePrompts& prompts, const TreeBranches& branches,
                        const AttentionSpec& spec);
}  // namespace reference

}  // namespace caravan::ops
