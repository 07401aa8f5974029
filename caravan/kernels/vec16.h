// Sixteen floats at a time for quantize_fit.h, in plain vectors: every instruction set adds up in the same order. Static
// functions only, as in sixteen.h.
#pragma once

#include <string.h>

namespace caravan::kernels {
namespace {

// Vectors must stay in registers: what handles them is inlined whatever its size.
#define CARAVAN_INLINE inline __attribute__((always_inline))

// Sixteen floats in the machine's own vectors: wider ones are taken apart number by number.
#if defined(__AVX512F__)
constexpr int kWide = 16;
#elif defined(__AVX2__)
constexpr int kWide = 8;
#else
constexpr int kWide = 4;
#endif
using Native = float __attribute__((vector_size(kWide * sizeof(float))));
constexpr int kParts = 16 / kWide;

struct Vec {
  Native part[kParts];
};

template <class F>
CARAVAN_INLINE Vec each(F f) {
  Vec v;
#pragma GCC unroll 4
  for (int i = 0; i < kParts; ++i) v.part[i] = f(i);
  return v;
}
CARAVAN_INLINE Vec all16(float x) {
  return each([&](int) __attribute__((always_inline)) { return Native{} + x; });
}
CARAVAN_INLINE Vec operator+(const Vec& a, const Vec& b) {
  return each([&](int i) __attribute__((always_inline)) { return a.part[i] + b.part[i]; });
}
CARAVAN_INLINE Vec operator-(const Vec& a, const Vec& b) {
  return each([&](int i) __attribute__((always_inline)) { return a.part[i] - b.part[i]; });
}
CARAVAN_INLINE Vec operator*(const Vec& a, const Vec& b) {
  return each([&](int i) __attribute__((always_inline)) { return a.part[i] * b.part[i]; });
}
CARAVAN_INLINE Vec operator-(const Vec& a, float b) { return a - all16(b); }
CARAVAN_INLINE Vec operator*(const Vec& a, float b) { return a * all16(b); }
CARAVAN_INLINE Vec operator+(const Vec& a, float b) { return a + all16(b); }
CARAVAN_INLINE Vec& operator+=(Vec& a, const Vec& b) { return a = a + b; }

CARAVAN_INLINE Vec load16(const float* p) {
  return each([&](int i) __attribute__((always_inline)) {
    Native n;
    memcpy(&n, p + i * kWide, sizeof n);
    return n;
  });
}
CARAVAN_INLINE void store16(const Vec& v, float* p) {
#pragma GCC unroll 4
  for (int i = 0; i < kParts; ++i) memcpy(p + i * kWide, &v.part[i], sizeof(Native));
}

// Lane i and lane i + 8, then + 4, + 2, + 1: the same order whatever the width.
CARAVAN_INLINE float total(const Vec& v) {
  using Four = float __attribute__((vector_size(16)));
  Four sum;
#if defined(__AVX512F__)
  const auto low = __builtin_shufflevector(v.part[0], v.part[0], 0, 1, 2, 3, 4, 5, 6, 7);
  const auto eight = low + __builtin_shufflevector(v.part[0], v.part[0], 8, 9, 10, 11, 12, 13, 14, 15);
  sum = __builtin_shufflevector(eight, eight, 0, 1, 2, 3) + __builtin_shufflevector(eight, eight, 4, 5, 6, 7);
#elif defined(__AVX2__)
  const auto eight = v.part[0] + v.part[1];
  sum = __builtin_shufflevector(eight, eight, 0, 1, 2, 3) + __builtin_shufflevector(eight, eight, 4, 5, 6, 7);
#else
  sum = (v.part[0] + v.part[2]) + (v.part[1] + v.part[3]);
#endif
  sum = sum + __builtin_shufflevector(sum, sum, 2, 3, 0, 1);
  return sum[0] + sum[1];
}

// To the nearest integer, ties to even, of |v| < 2^22: the sum has no bits left for fractions.
CARAVAN_INLINE Vec nearest(const Vec& v) {
  const float magic = 12582912.0f;  // 1.5 * 2^23
  return (v + magic) - magic;
}
inline float nearest(float v) {
  const float magic = 12582912.0f;
  return (v + magic) - magic;
}
CARAVAN_INLINE Vec clamp(const Vec& v, float low, float high) {
  const Native l = Native{} + low, h = Native{} + high;
  return each([&](int i) __attribute__((always_inline)) {
    const Native raised = v.part[i] > l ? v.part[i] : l;  // NaN becomes low
    return raised < h ? raised : h;
  });
}
inline float clamp(float v, float low, float high) {
  v = v > low ? v : low;
  return v < high ? v : high;
}
inline float magnitude(float v) { return v < 0 ? -v : v; }

}  // namespace
}  // namespace caravan::kernels
