// Sixteen floats, sixteen bytes: the two vector types of kernels that unpack small integers. One AVX-512 register, two
// of AVX2, or what the compiler makes of an array. Static functions only: an object compiled for one instruction set
// leaks no symbol that another could pick up.
#pragma once

#include <stdint.h>
#include <string.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace caravan::kernels {
namespace {

using Bytes = uint8_t __attribute__((vector_size(16)));  // operators as of scalars, lane by lane (GCC, Clang)
using SignedBytes = int8_t __attribute__((vector_size(16)));

inline Bytes load(const uint8_t* p) {
  Bytes b;
  memcpy(&b, p, sizeof b);
  return b;
}

#if defined(__AVX512F__)

using Floats = __m512;
inline Floats zeros() { return _mm512_setzero_ps(); }
inline Floats load(const float* p) { return _mm512_loadu_ps(p); }
inline Floats to_floats(Bytes b) { return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(reinterpret_cast<__m128i>(b))); }
inline Floats to_floats(SignedBytes b) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(reinterpret_cast<__m128i>(b)));
}
inline Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
inline Floats multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
inline Floats multiply_add(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }  // a b + c
inline Floats all(float x) { return _mm512_set1_ps(x); }
inline Floats larger(Floats a, Floats b) { return _mm512_max_ps(a, b); }  // b where one is a NaN
inline float largest(Floats f) { return _mm512_reduce_max_ps(f); }
inline Floats from_bf16(const uint16_t* p) {
  const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}
inline void store(Floats f, float* to) { _mm512_storeu_ps(to, f); }
inline float sum(Floats f) { return _mm512_reduce_add_ps(f); }

#elif defined(__AVX2__)

struct Floats {
  __m256 a, b;
};
inline Floats zeros() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
inline Floats load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline Floats to_floats(Bytes v) {
  const __m128i b = reinterpret_cast<__m128i>(v);
  return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(b)), _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(b, 8)))};
}
inline Floats to_floats(SignedBytes v) {
  const __m128i b = reinterpret_cast<__m128i>(v);
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(b)), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(b, 8)))};
}
inline Floats add(Floats x, Floats y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
inline Floats multiply(Floats x, Floats y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
inline Floats multiply_add(Floats x, Floats y, Floats z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
inline Floats all(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline Floats larger(Floats x, Floats y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
inline float largest(Floats f) {
  const __m256 eight = _mm256_max_ps(f.a, f.b);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
inline Floats from_bf16(const uint16_t* p) {
  const auto eight = [](const uint16_t* from) {
    const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
  };
  return {eight(p), eight(p + 8)};
}
inline void store(Floats f, float* to) {
  _mm256_storeu_ps(to, f.a);
  _mm256_storeu_ps(to + 8, f.b);
}
inline float sum(Floats f) {
  const __m256 eight = _mm256_add_ps(f.a, f.b);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

#else

struct Floats {
  float f[16];
};
template <class Make>
inline Floats each(Make make) {
  Floats out;
  for (int i = 0; i < 16; ++i) out.f[i] = make(i);
  return out;
}
inline Floats zeros() { return {}; }
inline Floats load(const float* p) {
  return each([=](int i) { return p[i]; });
}
inline Floats to_floats(Bytes b) {
  return each([=](int i) { return static_cast<float>(b[i]); });
}
inline Floats to_floats(SignedBytes b) {
  return each([=](int i) { return static_cast<float>(b[i]); });
}
inline Floats add(const Floats& a, const Floats& b) {
  return each([&](int i) { return a.f[i] + b.f[i]; });
}
inline Floats multiply(const Floats& a, const Floats& b) {
  return each([&](int i) { return a.f[i] * b.f[i]; });
}
inline Floats multiply_add(const Floats& a, const Floats& b, const Floats& c) {
  return each([&](int i) { return a.f[i] * b.f[i] + c.f[i]; });
}
inline Floats all(float x) {
  return each([=](int) { return x; });
}
inline Floats larger(const Floats& a, const Floats& b) {
  return each([&](int i) { return a.f[i] > b.f[i] ? a.f[i] : b.f[i]; });
}
inline float largest(const Floats& f) {
  float most = f.f[0];
  for (float x : f.f) most = x > most ? x : most;
  return most;
}
inline Floats from_bf16(const uint16_t* p) {
  return each([=](int i) {
    const uint32_t bits = static_cast<uint32_t>(p[i]) << 16;
    float f;
    memcpy(&f, &bits, 4);
    return f;
  });
}
inline void store(const Floats& f, float* to) { memcpy(to, f.f, sizeof f.f); }
inline float sum(const Floats& f) {
  float total = 0.0f;
  for (float x : f.f) total += x;
  return total;
}

#endif

inline Floats load(const uint16_t* bf16) { return from_bf16(bf16); }
inline Floats load(const int8_t* p) {
  SignedBytes b;
  memcpy(&b, p, sizeof b);
  return to_floats(b);
}

// The sums of R vectors' lanes.
template <int R>
inline void add_lanes(const Floats* sums, float* to) {
#if defined(__AVX512F__)
  if constexpr (R == 4) {
    const auto pairs = [](Floats a, Floats b) { return add(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)); };
    const __m512d ab = _mm512_castps_pd(pairs(sums[0], sums[1])), cd = _mm512_castps_pd(pairs(sums[2], sums[3]));
    const Floats lanes =  // a, b, c, d in every quarter
        add(_mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)), _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)));
    const __m256 two = _mm256_add_ps(_mm512_castps512_ps256(lanes), _mm512_extractf32x8_ps(lanes, 1));
    _mm_storeu_ps(to, _mm_add_ps(_mm256_castps256_ps128(two), _mm256_extractf128_ps(two, 1)));
    return;
  }
  const Floats none = zeros(), four[4] = {sums[0], R > 1 ? sums[1 % R] : none, R > 2 ? sums[2 % R] : none, none};
  float out[4];
  add_lanes<4>(four, out);  // in the same order
  memcpy(to, out, R * sizeof(float));
#else
  for (int r = 0; r < R; ++r) to[r] = sum(sums[r]);
#endif
}

// The largest number; NaNs are passed over. In lanes, whose maxima need no order.
inline float largest_of(const float* x, int64_t n) {
  constexpr int kLanes = 16;
  float lanes[kLanes], largest = -__builtin_inff();
  for (float& lane : lanes) lane = -__builtin_inff();
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int j = 0; j < kLanes; ++j) lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
  }
  for (; i < n; ++i) largest = x[i] > largest ? x[i] : largest;
  for (const float lane : lanes) largest = lane > largest ? lane : largest;
  return largest;
}

}  // namespace
}  // namespace caravan::kernels
