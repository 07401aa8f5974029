// Vectors of kernels that multiply small integers for sixteen rows at once: Quads holds 16 rows x 4 columns of bytes,
// Sum an exact sum of products a row, Floats (sixteen.h) a float a row. Three bodies: AVX-512 with VNNI, AVX2, plain
// loops. All give the same integers. Static functions only: an object compiled for one instruction set leaks no symbol
// that another could pick up.
#pragma once

#include <stdint.h>
#include <string.h>

#include "caravan/kernels/half.h"
#include "caravan/kernels/packed.h"
#include "caravan/kernels/sixteen.h"

namespace caravan::kernels {
namespace {

// Loops over registers must disappear; over plain arrays they stay loops.
#if defined(__AVX2__)
#define CARAVAN_UNROLL _Pragma("GCC unroll 8")
constexpr int kMostInputs = 4;  // whose sums stay in registers
#else
#define CARAVAN_UNROLL
constexpr int kMostInputs = 1;
#endif

#if defined(__AVX512VNNI__)

// The integers of a group: bytes 0..31 their high bytes, rounded, bytes 32..63 what is left, so that value = 256 high
// + low with both signed.
struct Quads {
  __m512i v;
};
inline Quads load_quads(const uint8_t* p) { return {_mm512_loadu_si512(p)}; }
template <int kShift, int kMask>  // (byte >> shift) & mask in every byte; a negative shift goes left
inline Quads bits(Quads q) {
  __m512i v = q.v;
  if constexpr (kShift > 0) v = _mm512_srli_epi16(v, kShift);
  if constexpr (kShift < 0) v = _mm512_slli_epi16(v, -kShift);
  return {_mm512_and_si512(v, _mm512_set1_epi8(static_cast<char>(kMask)))};
}
inline Quads both(Quads a, Quads b) { return {_mm512_or_si512(a.v, b.v)}; }
inline Quads look_up_quads(SignedBytes table, Quads index) {
  return {_mm512_shuffle_epi8(_mm512_broadcast_i32x4(reinterpret_cast<__m128i>(table)), index.v)};
}

// A sum of products, its high and low halves apart.
struct Sum {
  __m512i high, low;
};
inline Sum start(int32_t value) { return {_mm512_setzero_si512(), _mm512_set1_epi32(value)}; }
inline __m512i broadcast_quad(const int8_t* p) {
  int32_t four;
  memcpy(&four, p, 4);
  return _mm512_set1_epi32(four);
}
inline void add_product(Sum& sum, Quads weights, const InputGroup& x, int quad) {
  sum.high = _mm512_dpbusd_epi32(sum.high, weights.v, broadcast_quad(x.values + 4 * quad));
  sum.low = _mm512_dpbusd_epi32(sum.low, weights.v, broadcast_quad(x.values + 32 + 4 * quad));
}
inline Floats to_floats(const Sum& sum) {
  return _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(sum.high, 8), sum.low));
}
inline void store_values(const int16_t* integers, int8_t* to) {
  const __m512i v = _mm512_loadu_si512(integers),
                high = _mm512_srai_epi16(_mm512_add_epi16(v, _mm512_set1_epi16(128)), 8);
  const __m512i low = _mm512_sub_epi16(v, _mm512_slli_epi16(high, 8));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi16_epi8(high));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 32), _mm512_cvtepi16_epi8(low));
}

inline Floats load_halves(const uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

#else

// The integers of a group as 16-bit numbers, each quad as columns 0, 2, 1, 3: the even bytes of a Quads, widened in
// place, meet the first two and the odd ones the others.
inline void store_values(const int16_t* integers, int8_t* to) {
  int16_t order[32];
  for (int i = 0; i < 32; i += 4) {
    order[i] = integers[i], order[i + 1] = integers[i + 2];
    order[i + 2] = integers[i + 1], order[i + 3] = integers[i + 3];
  }
  memcpy(to, order, sizeof order);
}

#if defined(__AVX2__)

struct Quads {
  __m256i a, b;
};
inline Quads load_quads(const uint8_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32))};
}
template <int kShift, int kMask>
inline Quads bits(Quads q) {
  const __m256i mask = _mm256_set1_epi8(static_cast<char>(kMask));
  const auto half = [&](__m256i v) {
    if constexpr (kShift > 0) v = _mm256_srli_epi16(v, kShift);
    if constexpr (kShift < 0) v = _mm256_slli_epi16(v, -kShift);
    return _mm256_and_si256(v, mask);
  };
  return {half(q.a), half(q.b)};
}
inline Quads both(Quads x, Quads y) { return {_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)}; }
inline Quads look_up_quads(SignedBytes table, Quads index) {
  const __m256i t = _mm256_broadcastsi128_si256(reinterpret_cast<__m128i>(table));
  return {_mm256_shuffle_epi8(t, index.a), _mm256_shuffle_epi8(t, index.b)};
}

struct Sum {
  __m256i a, b;
};
inline Sum start(int32_t value) { return {_mm256_set1_epi32(value), _mm256_set1_epi32(value)}; }
inline void add_product(Sum& sum, Quads weights, const InputGroup& x, int quad) {
  int32_t even, odd;
  memcpy(&even, x.values + 8 * quad, 4);
  memcpy(&odd, x.values + 8 * quad + 4, 4);
  const __m256i x_even = _mm256_set1_epi32(even), x_odd = _mm256_set1_epi32(odd), low = _mm256_set1_epi16(0xff);
  const auto half = [&](__m256i acc, __m256i w) {
    acc = _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_and_si256(w, low), x_even));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_srli_epi16(w, 8), x_odd));
  };
  sum.a = half(sum.a, weights.a);
  sum.b = half(sum.b, weights.b);
}
inline Floats to_floats(const Sum& sum) { return {_mm256_cvtepi32_ps(sum.a), _mm256_cvtepi32_ps(sum.b)}; }
inline Floats load_halves(const uint8_t* p) {
  const auto* halves = reinterpret_cast<const __m128i*>(p);
  return {_mm256_cvtph_ps(_mm_loadu_si128(halves)), _mm256_cvtph_ps(_mm_loadu_si128(halves + 1))};
}

#else

struct Quads {
  uint8_t b[64];
};
inline Quads load_quads(const uint8_t* p) {
  Quads q;
  memcpy(q.b, p, sizeof q.b);
  return q;
}
template <int kShift, int kMask>
inline Quads bits(const Quads& q) {
  Quads out;
  for (int i = 0; i < 64; ++i) {
    const int v = kShift >= 0 ? q.b[i] >> (kShift >= 0 ? kShift : 0) : q.b[i] << (kShift < 0 ? -kShift : 0);
    out.b[i] = static_cast<uint8_t>(v & kMask);
  }
  return out;
}
inline Quads both(const Quads& x, const Quads& y) {
  Quads out;
  for (int i = 0; i < 64; ++i) out.b[i] = x.b[i] | y.b[i];
  return out;
}
inline Quads look_up_quads(SignedBytes table, const Quads& index) {
  Quads out;
  for (int i = 0; i < 64; ++i) out.b[i] = static_cast<uint8_t>(table[index.b[i]]);
  return out;
}

struct Sum {
  int32_t rows[16];
};
inline Sum start(int32_t value) {
  Sum sum;
  for (int32_t& row : sum.rows) row = value;
  return sum;
}
inline void add_product(Sum& sum, const Quads& weights, const InputGroup& x, int quad) {
  int16_t v[4];
  memcpy(v, x.values + 8 * quad, sizeof v);
  for (int r = 0; r < 16; ++r) {
    const uint8_t* w = weights.b + 4 * r;
    sum.rows[r] += w[0] * v[0] + w[2] * v[1] + w[1] * v[2] + w[3] * v[3];
  }
}
inline Floats to_floats(const Sum& sum) {
  return each([&](int i) { return static_cast<float>(sum.rows[i]); });
}
inline Floats load_halves(const uint8_t* p) {
  return each([=](int i) { return half_to_float(static_cast<uint16_t>(p[2 * i] | p[2 * i + 1] << 8)); });
}

#endif
#endif

inline Floats multiply(const Floats& a, const Floats& b) { return multiply_add(a, b, zeros()); }

}  // namespace
}  // namespace caravan::kernels
