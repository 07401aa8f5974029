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
#else
#define CARAVAN_UNROLL
#endif

// Inputs and tiles whose sums stay in registers together.
#if defined(__AVX512VNNI__)
constexpr int kMostInputs = 4, kMostTiles = 2;  // 8 sums, 16 of a group's products, 2 vectors of weights, 2 of an input
#elif defined(__AVX2__)
constexpr int kMostInputs = 4, kMostTiles = 1;
#else
constexpr int kMostInputs = 1, kMostTiles = 1;
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
struct InputQuad {  // four columns of one input, for all rows
  __m512i high, low;
};
inline InputQuad load_input(const InputGroup& x, int quad) {
  return {broadcast_quad(x.values + 4 * quad), broadcast_quad(x.values + 32 + 4 * quad)};
}
inline void add_product(Sum& sum, Quads weights, const InputQuad& x) {
  sum.high = _mm512_dpbusd_epi32(sum.high, weights.v, x.high);
  sum.low = _mm512_dpbusd_epi32(sum.low, weights.v, x.low);
}
inline Floats to_floats(const Sum& sum) {
  return _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(sum.high, 8), sum.low));
}
// Values and sums of a group: x [32] times `inverse`, rounded to the nearest, halves away from zero.
inline void store_rounded(const float* x, float inverse, InputGroup& to) {
  for (int half = 0; half < 2; ++half) {
    const __m512 scaled = _mm512_mul_ps(_mm512_loadu_ps(x + 16 * half), _mm512_set1_ps(inverse));
    const __m512 sign = _mm512_and_ps(scaled, _mm512_set1_ps(-0.0f));
    const __m512i v = _mm512_cvttps_epi32(_mm512_add_ps(scaled, _mm512_or_ps(sign, _mm512_set1_ps(0.5f))));
    const __m512i high = _mm512_srai_epi32(_mm512_add_epi32(v, _mm512_set1_epi32(128)), 8);
    const __m512i low = _mm512_sub_epi32(v, _mm512_slli_epi32(high, 8));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to.values + 16 * half), _mm512_cvtepi32_epi8(high));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to.values + 32 + 16 * half), _mm512_cvtepi32_epi8(low));
    to.sums[half] = _mm512_reduce_add_epi32(v);
  }
}

inline Floats load_halves(const uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

#else

// The integers of a group as 16-bit numbers, each quad as columns 0, 2, 1, 3: the even bytes of a Quads, widened in
// place, meet the first two and the odd ones the others. Rounded as above.
inline void store_rounded(const float* x, float inverse, InputGroup& to) {
  constexpr int kOrder[4] = {0, 2, 1, 3};
  int16_t integers[32], ordered[32];
  for (int i = 0; i < 32; ++i) {
    const float scaled = x[i] * inverse;
    integers[i] = static_cast<int16_t>(static_cast<int32_t>(scaled + (scaled < 0.0f ? -0.5f : 0.5f)));
  }
  int32_t sums[2] = {0, 0};
  for (int i = 0; i < 16; ++i) sums[0] += integers[i], sums[1] += integers[i + 16];
  to.sums[0] = sums[0];
  to.sums[1] = sums[1];
  for (int i = 0; i < 32; ++i) ordered[i] = integers[i / 4 * 4 + kOrder[i % 4]];
  memcpy(to.values, ordered, sizeof ordered);
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
struct InputQuad {
  __m256i even, odd;
};
inline InputQuad load_input(const InputGroup& x, int quad) {
  int32_t even, odd;
  memcpy(&even, x.values + 8 * quad, 4);
  memcpy(&odd, x.values + 8 * quad + 4, 4);
  return {_mm256_set1_epi32(even), _mm256_set1_epi32(odd)};
}
inline void add_product(Sum& sum, Quads weights, const InputQuad& x) {
  const __m256i low = _mm256_set1_epi16(0xff);
  const auto half = [&](__m256i acc, __m256i w) {
    acc = _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_and_si256(w, low), x.even));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_srli_epi16(w, 8), x.odd));
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
struct InputQuad {
  int16_t v[4];
};
inline InputQuad load_input(const InputGroup& x, int quad) {
  InputQuad q;
  memcpy(q.v, x.values + 8 * quad, sizeof q.v);
  return q;
}
inline void add_product(Sum& sum, const Quads& weights, const InputQuad& x) {
  for (int r = 0; r < 16; ++r) {
    const uint8_t* w = weights.b + 4 * r;
    sum.rows[r] += w[0] * x.v[0] + w[2] * x.v[1] + w[1] * x.v[2] + w[3] * x.v[3];
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

}  // namespace
}  // namespace caravan::kernels
