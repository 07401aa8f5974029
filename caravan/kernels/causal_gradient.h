// The backward pass of causal attention within one sequence, for training; the forward pass is tree_attention.h's.
// Weights are computed again from queries and keys: nothing but these is kept between the passes.
//
// With P = softmax(scale Q K^T), dP = dO V^T and dS = scale P (dP - rowsum(P dP)):
//   dV = P^T dO    dQ = dS K    dK = dS^T Q
#pragma once

#include <stdint.h>

#include "caravan/kernels/tree_attention.h"

namespace caravan::kernels {

// One key-value head with its G query heads over one sequence.
struct CausalGradient {
  const void *queries, *gradient;  // token t's [G, D] at + t * row_stride
  void* d_queries;                 // the same layout
  int64_t row_stride;
  const float *keys_across, *values_across;  // packed (tree_attention.h)
  const float* keys;                         // packed: [tokens, D]
  void *d_keys, *d_values;                   // token t's [D] at + t * kv_stride
  int64_t kv_stride;
  int64_t tokens, group, width;  // T, G, D; D a multiple of 16
  int64_t window;                // 0: none; else a token sees so many, itself included
  float scale;
  float* scratch;  // causal_scratch(tokens, width) floats
};

inline constexpr int64_t causal_scratch(int64_t tokens, int64_t width) {
  return 2 * tokens * width + kTreeQueries * 2 * (tree_stride(tokens) + width);
}

struct CausalTable {
  void (*gradient_f32)(const CausalGradient& call);
  void (*gradient_bf16)(const CausalGradient& call);
};

const CausalTable& causal_table();  // of the instruction set of table()
const CausalTable* causal_table(const char* isa);

}  // namespace caravan::kernels
