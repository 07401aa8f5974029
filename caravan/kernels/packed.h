// Block-quantized weights repacked for integer dot products: sixteen rows side by side, so that one 512-bit register
// holds four columns of all of them and no sum runs across lanes.
//
//   const PackedType& type = *packed_type("q4_k");
//   std::vector<uint8_t> tiles(packed_bytes(type, rows, width));
//   pack_tiles(type, blocks, tiles.data(), {rows, width, 0, tile_count(rows)});       // once, at load
//   std::vector<InputGroup> inputs(m * width / 32);
//   table().packed->quantize(x, inputs.data(), m * width / 32);                       // x [m, width], once a product
//   table().packed->multiply[type.index](tiles.data(), inputs.data(), y, shape);      // y = x W^T
//
// A tile keeps every number of its blocks: nothing is rounded, the sizes are GGML's plus at most 4%. Inputs are rounded
// to 16 bits a group of 32 (error below 2^-16 of the group's largest), sums of a group are exact integers.
//
// Tile of 16 rows, G = width / 32 groups of columns: planes of values, G x plane_bytes, then scales. A quad is four
// consecutive columns; byte 4 r + b of a 64-byte plane belongs to row r, column b of its quads:
//   4 bits   plane j: low nibble quad j, high nibble quad j + 4                                (4 planes)
//   1 bit    bit j: quad j (the fifth bit of q5, the third of q3)                              (1 plane)
//   2 bits   plane i: bits 2 f and 2 f + 1 are quad 4 i + f (of q2, q3; the upper ones of q6)  (2 planes)
//   8 bits   plane j: quad j                                                                   (8 planes)
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace caravan::kernels {

constexpr int64_t kTileRows = 16, kGroupColumns = 32;

// 32 inputs as integers times `scale`. What the integers look like is the instruction set's business: high and low
// bytes apart, or 16-bit numbers in pairs.
struct InputGroup {
  int8_t values[64];
  float scale;
  int32_t sums[2];  // of the first and the last 16 integers
  float total;      // scale times both sums
};

enum class PackedIndex : uint8_t { q4_0, q4_1, q5_0, q5_1, q8_0, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_nl, iq4_xs, count };
constexpr size_t kPackedTypes = static_cast<size_t>(PackedIndex::count);

// How a type is laid out in a tile; sizes in bytes.
struct PackedType {
  PackedIndex index;
  const char* name;                     // as base/dtype.h spells it
  int block_elements, block_bytes;      // GGML's
  int plane_bytes;                      // of one group's values
  int header_bytes, group_scale_bytes;  // scales: a header every block of 256, then a part a group
};

const PackedType* packed_type(const char* name);  // null for other types
const PackedType& packed_type(PackedIndex index);

inline int64_t tile_count(int64_t rows) { return (rows + kTileRows - 1) / kTileRows; }
int64_t tile_bytes(const PackedType& type, int64_t width);
inline int64_t packed_bytes(const PackedType& type, int64_t rows, int64_t width) {
  return tile_count(rows) * tile_bytes(type, width);
}

// Tiles [first, last) of the packed form of W [rows, width]; rows behind the last one are zeros.
struct TileRange {
  int64_t rows, width, first, last;
};
void pack_tiles(const PackedType& type, const uint8_t* blocks, uint8_t* tiles, const TileRange& range);

// y[i * stride + r] = sum over j of W[r, j] x[i, j] for the rows r of `tiles`, x [inputs, width / 32] groups.
struct PackedShape {
  int64_t rows, width, inputs, stride;
};
using PackedMultiply = void (*)(const uint8_t* tiles, const InputGroup* x, float* y, const PackedShape& shape);

struct PackedTable {
  // x [32 groups] to integers. A group that holds a NaN or an infinity makes every product with it NaN.
  void (*quantize)(const float* x, InputGroup* to, int64_t groups);
  PackedMultiply multiply[kPackedTypes];
};

}  // namespace caravan::kernels
