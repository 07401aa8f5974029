// Attention of many rows that share most of their keys: the beams of a search, which all see one prompt and then their
// own few tokens, and the prompt's own tokens. The prompt's keys stand transposed, so that a block of queries meets
// them as a matrix product does, a block of keys after another (Dao et al., "FlashAttention"); a row's result does not
// depend on the other rows.
//
//   tree_table().pack_f32(keys, values, tokens, stride, width, packed_keys, packed_values);
//   tree_table().attend_f32({.queries = q, ...});
#pragma once

#include <stdint.h>

namespace caravan::kernels {

inline constexpr int64_t kTreeTokens = 64;  // in a block of keys, which stays in the first-level cache with its values
inline constexpr int64_t kTreeQueries = 6;  // that share a pass over a block

// Tokens that packed keys have room for, and numbers of a packed value: whole blocks and whole vectors.
inline constexpr int64_t tree_stride(int64_t tokens) { return (tokens + kTreeTokens - 1) / kTreeTokens * kTreeTokens; }
inline constexpr int64_t tree_width(int64_t width) { return (width + 15) / 16 * 16; }

// One key-value head's G query heads over the rows of one prompt: softmax(scale q k^T) v.
struct TreeHead {
  const void* queries;  // row i's [G, D] at queries + i * row_stride
  void* output;         // the same layout
  int64_t row_stride;
  int64_t rows, group, width;  // G, D
  const float* keys;           // packed, block by block: [D, kTreeTokens]
  const float* values;         // packed: [tokens, tree_width(D)]
  int64_t tokens;              // of the prompt
  const int64_t* visible;      // [rows]: the prompt's tokens [0, visible) are seen
  // What each row sees behind the prompt, itself the last: [rows, tail] vectors of D.
  const void* const* tail_keys;
  const void* const* tail_values;
  int64_t tail;
  int64_t window;  // 0: none; else a row sees so many tokens back, itself included
  float scale;
  float* scratch;  // tree_scratch(width, tail) floats
};

inline constexpr int64_t kTreeChunk = 16 * kTreeQueries;  // queries that meet one block of keys after another

inline constexpr int64_t tree_scratch(int64_t width, int64_t tail) {
  return kTreeChunk * (width + tree_width(width) + 16 + 1) + tail;  // query, output, sums in lanes, largest score
}

struct TreeTable {
  void (*attend_f32)(const TreeHead& head);
  void (*attend_bf16)(const TreeHead& head);
  // Token t's key and value stand at keys + t * stride, values + t * stride.
  void (*pack_f32)(const float* keys, const float* values, int64_t tokens, int64_t stride, int64_t width,
                   float* packed_keys, float* packed_values);
  void (*pack_bf16)(const uint16_t* keys, const uint16_t* values, int64_t tokens, int64_t stride, int64_t width,
                    float* packed_keys, float* packed_values);
};

const TreeTable& tree_table();  // of the instruction set of table()
const TreeTable* tree_table(const char* isa);

}  // namespace caravan::kernels
