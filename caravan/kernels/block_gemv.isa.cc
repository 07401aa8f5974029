// Matrix times vector over GGML's blocks (layouts: dequantize.cc, which is also the oracle). Compiled once per
// instruction set; CARAVAN_BLOCKS names the resulting table.
//
// Every type is w = d q + m with one (d, m) for 16 or 32 neighbours, so a type is only its unpacking of 32 elements.
// The product d q is exact (11 and at most 8 bits), so d q + m rounds once where multiplication and addition are fused.
#include "caravan/kernels/block_gemv.h"

#include "caravan/kernels/half.h"
#include "caravan/kernels/sixteen.h"

namespace caravan::kernels {
namespace {

struct Group {
  Floats w0, w1;  // elements 0..15 and 16..31
};

inline float load_half(const uint8_t* p) { return half_to_float(static_cast<uint16_t>(p[0] | p[1] << 8)); }
inline Bytes nibbles(Bytes b, int which) { return which != 0 ? b >> 4 : b & 15; }
// `value` in every lane whose byte has this bit.
inline Bytes where_bit(Bytes b, int bit, uint8_t value) {
  Bytes bits, values;
  memset(&bits, 1 << bit, sizeof bits);
  memset(&values, value, sizeof values);
  return reinterpret_cast<Bytes>((b & bits) != 0) & values;
}

template <class Vector>
inline Group uniform(Vector q0, Vector q1, float d, float m) {
  return {scale_add(to_floats(q0), d, m), scale_add(to_floats(q1), d, m)};
}

// Types of 32 elements a block: the block's only group.
template <Nibble kKind>
inline Group four_bits(const uint8_t* q, float d, float m) {
  const NibbleWeights<kKind> weights(d, m);
  const Bytes b = load(q);
  return {weights.low(b), weights.high(b)};
}

template <int kOffset>
inline Group five_bits(const uint8_t* high, const uint8_t* q, float d, float m) {
  // The fifth bits: byte i / 8 of `high` to lane i, then its bit i % 8.
  const Bytes bit = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  const Bytes first = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
  Bytes bits = {};
  memcpy(&bits, high, 4);
  const Bytes h0 = look_up(bits, first), h1 = look_up(bits, first + 2);
  const Bytes b = load(q);
  const Bytes fifth0 = reinterpret_cast<Bytes>((h0 & bit) != 0) & 16,
              fifth1 = reinterpret_cast<Bytes>((h1 & bit) != 0) & 16;
  return uniform((b & 15) | fifth0, b >> 4 | fifth1, d, m - d * kOffset);
}

struct Q4_0 {
  static constexpr int kElements = 32, kBytes = 18;
  static Group group(const uint8_t* b, int) {
    const float d = load_half(b);
    return four_bits<Nibble::plain>(b + 2, d, -8 * d);
  }
};
struct Q4_1 {
  static constexpr int kElements = 32, kBytes = 20;
  static Group group(const uint8_t* b, int) { return four_bits<Nibble::plain>(b + 4, load_half(b), load_half(b + 2)); }
};
struct Q5_0 {
  static constexpr int kElements = 32, kBytes = 22;
  static Group group(const uint8_t* b, int) { return five_bits<16>(b + 2, b + 6, load_half(b), 0.0f); }
};
struct Q5_1 {
  static constexpr int kElements = 32, kBytes = 24;
  static Group group(const uint8_t* b, int) { return five_bits<0>(b + 4, b + 8, load_half(b), load_half(b + 2)); }
};
struct Q8_0 {
  static constexpr int kElements = 32, kBytes = 34;
  static Group group(const uint8_t* b, int) {
    return uniform(reinterpret_cast<SignedBytes>(load(b + 2)), reinterpret_cast<SignedBytes>(load(b + 18)),
                   load_half(b), 0.0f);
  }
};
struct Iq4Nl {
  static constexpr int kElements = 32, kBytes = 18;
  static Group group(const uint8_t* b, int) { return four_bits<Nibble::iq4>(b + 2, load_half(b), 0.0f); }
};

// Types of 256 elements a block, `part` counts its groups of 32.
struct ScaleMin {
  float scale, minimum;
};
inline ScaleMin scale_min(const uint8_t* packed, int i) {
  if (i < 4) return {static_cast<float>(packed[i] & 63), static_cast<float>(packed[i + 4] & 63)};
  return {static_cast<float>((packed[i + 4] & 15) | (packed[i - 4] >> 6) << 4),
          static_cast<float>((packed[i + 4] >> 4) | (packed[i] >> 6) << 4)};
}

struct Q2K {
  static constexpr int kElements = 256, kBytes = 84;
  static Group group(const uint8_t* b, int part) {
    const float d = load_half(b + 80), minimum = load_half(b + 82);
    const uint8_t s0 = b[2 * part], s1 = b[2 * part + 1], *q = b + 16 + part / 4 * 32;
    const int shift = part % 4 * 2;
    return {scale_add(to_floats(load(q) >> shift & 3), d * static_cast<float>(s0 & 15),
                      -minimum * static_cast<float>(s0 >> 4)),
            scale_add(to_floats(load(q + 16) >> shift & 3), d * static_cast<float>(s1 & 15),
                      -minimum * static_cast<float>(s1 >> 4))};
  }
};
struct Q3K {
  static constexpr int kElements = 256, kBytes = 110;
  static float scale(const uint8_t* scales, int s) {
    return static_cast<float>(((scales[s % 8] >> s / 8 * 4 & 15) | (scales[8 + s % 4] >> s / 4 * 2 & 3) << 4) - 32);
  }
  static Group group(const uint8_t* b, int part) {
    const uint8_t *q = b + 32 + part / 4 * 32, *scales = b + 96;
    const int shift = part % 4 * 2;
    const float d = load_half(b + 108), d0 = d * scale(scales, 2 * part), d1 = d * scale(scales, 2 * part + 1);
    return {scale_add(to_floats((load(q) >> shift & 3) | where_bit(load(b), part, 4)), d0, -4 * d0),
            scale_add(to_floats((load(q + 16) >> shift & 3) | where_bit(load(b + 16), part, 4)), d1, -4 * d1)};
  }
};
struct Q4K {
  static constexpr int kElements = 256, kBytes = 144;
  static Group group(const uint8_t* b, int part) {
    const ScaleMin s = scale_min(b + 4, part);
    const uint8_t* q = b + 16 + part / 2 * 32;
    const NibbleWeights<Nibble::plain> weights(load_half(b) * s.scale, -load_half(b + 2) * s.minimum);
    if (part % 2 == 0) return {weights.low(load(q)), weights.low(load(q + 16))};
    return {weights.high(load(q)), weights.high(load(q + 16))};
  }
};
struct Q5K {
  static constexpr int kElements = 256, kBytes = 176;
  static Group group(const uint8_t* b, int part) {
    const ScaleMin s = scale_min(b + 4, part);
    const uint8_t *high = b + 16, *q = b + 48 + part / 2 * 32;
    return uniform(nibbles(load(q), part % 2) | where_bit(load(high), part, 16),
                   nibbles(load(q + 16), part % 2) | where_bit(load(high + 16), part, 16), load_half(b) * s.scale,
                   -load_half(b + 2) * s.minimum);
  }
};
struct Q6K {
  static constexpr int kElements = 256, kBytes = 210;
  static Group group(const uint8_t* b, int part) {
    const int quarter = part % 4, shift = quarter * 2;
    const uint8_t *low = b + part / 4 * 64 + quarter % 2 * 32, *high = b + 128 + part / 4 * 32;
    const float d = load_half(b + 208), d0 = d * static_cast<float>(static_cast<int8_t>(b[192 + 2 * part])),
                d1 = d * static_cast<float>(static_cast<int8_t>(b[193 + 2 * part]));
    const Bytes q0 = nibbles(load(low), quarter / 2) | (load(high) >> shift & 3) << 4;
    const Bytes q1 = nibbles(load(low + 16), quarter / 2) | (load(high + 16) >> shift & 3) << 4;
    return {scale_add(to_floats(q0), d0, -32 * d0), scale_add(to_floats(q1), d1, -32 * d1)};
  }
};
struct Iq4Xs {
  static constexpr int kElements = 256, kBytes = 136;
  static Group group(const uint8_t* b, int part) {
    const int high = b[2] | b[3] << 8;
    const int scale = (b[4 + part / 2] >> part % 2 * 4 & 15) | (high >> part * 2 & 3) << 4;
    return four_bits<Nibble::iq4>(b + 8 + part * 16, load_half(b) * static_cast<float>(scale - 32), 0.0f);
  }
};

// One row against M inputs, two sums an input so that the additions of one group do not wait for each other.
template <class Type, int M>
void row_dot(const uint8_t* row, const float* x, float* y, int64_t width, int64_t stride) {
  Floats even[M], odd[M];
  for (int i = 0; i < M; ++i) even[i] = odd[i] = zeros();
  for (int64_t at = 0; at < width; at += Type::kElements, row += Type::kBytes) {
#pragma GCC unroll 8
    for (int part = 0; part < Type::kElements / 32; ++part) {
      const Group g = Type::group(row, part);
      const float* inputs = x + at + part * 32;
#pragma GCC unroll 4
      for (int i = 0; i < M; ++i) {
        even[i] = multiply_add(g.w0, load(inputs + i * width), even[i]);
        odd[i] = multiply_add(g.w1, load(inputs + i * width + 16), odd[i]);
      }
    }
  }
  for (int i = 0; i < M; ++i) y[i * stride] = sum(add(even[i], odd[i]));
}

template <class Type>
void gemv(const uint8_t* rows, const float* x, float* y, int64_t count, int64_t width, int64_t m, int64_t stride) {
  const int64_t row_bytes = width / Type::kElements * Type::kBytes;
  for (int64_t r = 0; r < count; ++r, rows += row_bytes) {
    int64_t i = 0;
    for (; i + 4 <= m; i += 4) row_dot<Type, 4>(rows, x + i * width, y + i * stride + r, width, stride);
    if (m - i == 3) row_dot<Type, 3>(rows, x + i * width, y + i * stride + r, width, stride);
    if (m - i == 2) row_dot<Type, 2>(rows, x + i * width, y + i * stride + r, width, stride);
    if (m - i == 1) row_dot<Type, 1>(rows, x + i * width, y + i * stride + r, width, stride);
  }
}

}  // namespace

extern const BlockTable CARAVAN_BLOCKS;
const BlockTable CARAVAN_BLOCKS = {gemv<Q4_0>, gemv<Q4_1>, gemv<Q5_0>, gemv<Q5_1>, gemv<Q8_0>,  gemv<Q2K>,
                                   gemv<Q3K>,  gemv<Q4K>,  gemv<Q5K>,  gemv<Q6K>,  gemv<Iq4Nl>, gemv<Iq4Xs>};

}  // namespace caravan::kernels
