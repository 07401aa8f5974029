// Repacks GGML's blocks (layouts: dequantize.cc) into tiles; plain loops, run once a weight.
#include "caravan/kernels/packed.h"

#include <string.h>

#include <algorithm>
#include <array>

namespace caravan::kernels {
namespace {

enum Bits {
  kTwo = 128,
  kThree = 192,
  kFour = 256,
  kFive = 320,
  kSix = 384,
  kEight = 512
};  // bytes of a group's planes

constexpr std::array kTypes = std::to_array<PackedType>({
    // index, name, block elements and bytes, planes, header, scales of a group
    {PackedIndex::q4_0, "q4_0", 32, 18, kFour, 0, 32},
    {PackedIndex::q4_1, "q4_1", 32, 20, kFour, 0, 64},
    {PackedIndex::q5_0, "q5_0", 32, 22, kFive, 0, 32},
    {PackedIndex::q5_1, "q5_1", 32, 24, kFive, 0, 64},
    {PackedIndex::q8_0, "q8_0", 32, 34, kEight, 0, 32},
    {PackedIndex::q2_k, "q2_k", 256, 84, kTwo, 64, 32},
    {PackedIndex::q3_k, "q3_k", 256, 110, kThree, 32, 32},
    {PackedIndex::q4_k, "q4_k", 256, 144, kFour, 64, 32},
    {PackedIndex::q5_k, "q5_k", 256, 176, kFive, 64, 32},
    {PackedIndex::q6_k, "q6_k", 256, 210, kSix, 32, 32},
    {PackedIndex::iq4_nl, "iq4_nl", 32, 18, kFour, 0, 32},
    {PackedIndex::iq4_xs, "iq4_xs", 256, 136, kFour, 32, 16},
});

// One group of one row, unpacked.
struct Group {
  uint8_t values[32];                      // what the bits say, before any offset
  uint8_t scales[2] = {}, minima[2] = {};  // of its halves, where a type has such bytes
};

// Eight bytes at a time: values are masked, so bits that a shift moves into a neighbour are gone.
constexpr uint64_t kOnes = 0x0101010101010101;

inline uint64_t eight(const uint8_t* p) {
  uint64_t w;
  memcpy(&w, p, 8);
  return w;
}

// to[i] = from[i] >> shift & mask
inline void take_bits(const uint8_t* from, int shift, uint8_t mask, uint8_t* to, int count) {
  for (int i = 0; i < count; i += 8) {
    const uint64_t w = eight(from + i) >> shift & mask * kOnes;
    memcpy(to + i, &w, 8);
  }
}

// to[i] |= (from[i] >> shift & mask) << left, 32 of them
inline void or_bits(const uint8_t* from, int shift, uint8_t mask, int left, uint8_t* to) {
  for (int i = 0; i < 32; i += 8) {
    const uint64_t w = eight(to + i) | (eight(from + i) >> shift & mask * kOnes) << left;
    memcpy(to + i, &w, 8);
  }
}

void nibbles(const uint8_t* q, uint8_t* values) {  // low nibbles first
  take_bits(q, 0, 15, values, 16);
  take_bits(q, 4, 15, values + 16, 16);
}

void fifth_bits(const uint8_t* high, uint8_t* values) {
  for (int i = 0; i < 4; ++i) {
    const uint64_t bits = high[i] * kOnes & 0x8040201008040201;  // bit j stays in byte j
    const uint64_t w = eight(values + 8 * i) | ((bits + 0x7f * kOnes) >> 7 & kOnes) << 4;
    memcpy(values + 8 * i, &w, 8);
  }
}

// Scale and minimum `i` of q4_k and q5_k.
void scale_min(const uint8_t* packed, int i, Group& g) {
  if (i < 4) {
    g.scales[0] = packed[i] & 63, g.minima[0] = packed[i + 4] & 63;
  } else {
    g.scales[0] = static_cast<uint8_t>((packed[i + 4] & 15) | (packed[i - 4] >> 6) << 4);
    g.minima[0] = static_cast<uint8_t>((packed[i + 4] >> 4) | (packed[i] >> 6) << 4);
  }
}

uint8_t q3_scale(const uint8_t* scales, int s) {  // signed
  return static_cast<uint8_t>(((scales[s % 8] >> s / 8 * 4 & 15) | (scales[8 + s % 4] >> s / 4 * 2 & 3) << 4) - 32);
}

void two_bits(const uint8_t* q, int part, uint8_t* values) {
  take_bits(q + part / 4 * 32, part % 4 * 2, 3, values, 32);
}

void paired_nibbles(const uint8_t* q, int part, uint8_t* values) {  // of q4_k and q5_k
  take_bits(q + part / 2 * 32, part % 2 * 4, 15, values, 32);
}

void or_bit(const uint8_t* bits, int part, int left, uint8_t* values) { or_bits(bits, part, 1, left, values); }

void six_bits(const uint8_t* b, int part, uint8_t* values) {
  take_bits(b + part / 4 * 64 + part % 2 * 32, part % 4 / 2 * 4, 15, values, 32);
  or_bits(b + 128 + part / 4 * 32, part % 4 * 2, 3, 4, values);
}

Group unpack(PackedIndex type, const uint8_t* b, int part) {
  Group g;
  switch (type) {
    case PackedIndex::q4_0:
    case PackedIndex::iq4_nl:
      nibbles(b + 2, g.values);
      break;
    case PackedIndex::q4_1:
      nibbles(b + 4, g.values);
      break;
    case PackedIndex::q5_0:
      nibbles(b + 6, g.values);
      fifth_bits(b + 2, g.values);
      break;
    case PackedIndex::q5_1:
      nibbles(b + 8, g.values);
      fifth_bits(b + 4, g.values);
      break;
    case PackedIndex::q8_0:
      for (int i = 0; i < 32; ++i) g.values[i] = b[2 + i] ^ 0x80;  // signed to unsigned, offset 128
      break;
    case PackedIndex::iq4_xs: {
      nibbles(b + 8 + part * 16, g.values);
      const int high = b[2] | b[3] << 8;
      g.scales[0] = static_cast<uint8_t>(((b[4 + part / 2] >> part % 2 * 4 & 15) | (high >> part * 2 & 3) << 4) - 32);
      break;
    }
    case PackedIndex::q2_k:
      two_bits(b + 16, part, g.values);
      g.scales[0] = b[2 * part], g.scales[1] = b[2 * part + 1];  // scale and minimum in one byte
      break;
    case PackedIndex::q3_k:
      two_bits(b + 32, part, g.values);
      or_bit(b, part, 2, g.values);
      g.scales[0] = q3_scale(b + 96, 2 * part), g.scales[1] = q3_scale(b + 96, 2 * part + 1);
      break;
    case PackedIndex::q4_k:
      paired_nibbles(b + 16, part, g.values);
      scale_min(b + 4, part, g);
      break;
    case PackedIndex::q5_k:
      paired_nibbles(b + 48, part, g.values);
      or_bit(b + 16, part, 4, g.values);
      scale_min(b + 4, part, g);
      break;
    default:  // q6_k
      six_bits(b, part, g.values);
      g.scales[0] = b[192 + 2 * part], g.scales[1] = b[193 + 2 * part];
  }
  return g;
}

// Puts the values of one row's group into the planes, which start as zeros: a quad is one 32-bit word.
template <int kBits>
void place(const uint8_t* values, int64_t row, uint8_t* planes) {
  uint32_t quads[8];
  memcpy(quads, values, sizeof quads);
  const auto or_into = [&](int plane, uint32_t word) {
    uint32_t old;
    memcpy(&old, planes + 64 * plane + 4 * row, 4);
    old |= word;
    memcpy(planes + 64 * plane + 4 * row, &old, 4);
  };
  constexpr uint32_t kOnes = 0x01010101;  // of a quad
  for (int j = 0; j < 8; ++j) {
    const uint32_t q = quads[j];
    if (kBits == kEight) or_into(j, q);
    if (kBits == kFour || kBits == kFive || kBits == kSix) or_into(j % 4, (q & 15 * kOnes) << j / 4 * 4);
    if (kBits == kFive) or_into(4, (q >> 4 & kOnes) << j);
    if (kBits == kSix) or_into(4 + j / 4, (q >> 4 & 3 * kOnes) << j % 4 * 2);
    if (kBits == kTwo || kBits == kThree) or_into(j / 4, (q & 3 * kOnes) << j % 4 * 2);
    if (kBits == kThree) or_into(2, (q >> 2 & kOnes) << j);
  }
}

void place(int bits, const uint8_t* values, int64_t row, uint8_t* planes) {
  switch (bits) {
    case kTwo:
      return place<kTwo>(values, row, planes);
    case kThree:
      return place<kThree>(values, row, planes);
    case kFour:
      return place<kFour>(values, row, planes);
    case kFive:
      return place<kFive>(values, row, planes);
    case kSix:
      return place<kSix>(values, row, planes);
    default:
      return place<kEight>(values, row, planes);
  }
}

// Halves and bytes beside the planes, one row's.
void place_header(const PackedType& type, const uint8_t* b, int64_t row, uint8_t* to) {
  const int d = type.index == PackedIndex::q2_k   ? 80
                : type.index == PackedIndex::q3_k ? 108
                : type.index == PackedIndex::q6_k ? 208
                                                  : 0;
  memcpy(to + 2 * row, b + d, 2);
  if (type.header_bytes == 64) memcpy(to + 32 + 2 * row, b + d + 2, 2);
}

void place_scales(const PackedType& type, const uint8_t* b, const Group& g, int64_t row, uint8_t* to) {
  if (type.header_bytes == 0) {
    memcpy(to + 2 * row, b, 2);
    if (type.group_scale_bytes == 64) memcpy(to + 32 + 2 * row, b + 2, 2);
    return;
  }
  const bool with_minimum = type.index == PackedIndex::q4_k || type.index == PackedIndex::q5_k;
  to[row] = g.scales[0];
  if (type.group_scale_bytes == 32) to[16 + row] = with_minimum ? g.minima[0] : g.scales[1];
}

void pack_tile(const PackedType& type, const uint8_t* blocks, uint8_t* tile, int64_t rows, int64_t width) {
  const int64_t groups = width / kGroupColumns, parts = type.block_elements / kGroupColumns;
  const int64_t row_bytes = width / type.block_elements * type.block_bytes;
  uint8_t* scales = tile + groups * type.plane_bytes;
  const int64_t block_scales = type.header_bytes + parts * type.group_scale_bytes;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t g = 0; g < groups; ++g) {
      const uint8_t* block = blocks + row * row_bytes + g / parts * type.block_bytes;
      uint8_t* to = scales + g / parts * block_scales;
      const int part = static_cast<int>(g % parts);
      const Group group = unpack(type.index, block, part);
      place(type.plane_bytes, group.values, row, tile + g * type.plane_bytes);
      if (part == 0 && type.header_bytes > 0) place_header(type, block, row, to);
      place_scales(type, block, group, row, to + type.header_bytes + part * type.group_scale_bytes);
    }
  }
}

}  // namespace

const PackedType& packed_type(PackedIndex index) { return kTypes[static_cast<size_t>(index)]; }

const PackedType* packed_type(const char* name) {
  const auto* found =
      std::find_if(kTypes.begin(), kTypes.end(), [&](const auto& t) { return strcmp(t.name, name) == 0; });
  return found == kTypes.end() ? nullptr : found;
}

int64_t tile_bytes(const PackedType& type, int64_t width) {
  const int64_t groups = width / kGroupColumns;
  const int64_t bytes =
      groups * (type.plane_bytes + type.group_scale_bytes) + width / type.block_elements * type.header_bytes;
  return (bytes + 63) / 64 * 64;  // whole cache lines, so that every tile's planes lie on them
}

void pack_tiles(const PackedType& type, const uint8_t* blocks, uint8_t* tiles, const TileRange& range) {
  const int64_t row_bytes = range.width / type.block_elements * type.block_bytes, bytes = tile_bytes(type, range.width);
  for (int64_t tile = range.first; tile < range.last; ++tile) {
    uint8_t* to = tiles + tile * bytes;
    memset(to, 0, static_cast<size_t>(bytes));
    const int64_t row = tile * kTileRows;
    pack_tile(type, blocks + row * row_bytes, to, std::min(kTileRows, range.rows - row), range.width);
  }
}

}  // namespace caravan::kernels
