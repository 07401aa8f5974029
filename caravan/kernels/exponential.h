// e^x as a loop body that vectorizes. Static functions only, as in sixteen.h.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

namespace caravan::kernels {
namespace {

// Keeps the compiler from rearranging sums across this value.
inline float in_order(float x) {
#if defined(__has_builtin)
#if __has_builtin(__builtin_assoc_barrier)
  return __builtin_assoc_barrier(x);
#endif
#endif
  return x;
}

// e^x for x in [-87, 88], relative error below 2e-7: e^x = 2^n e^r with n = round(x / ln 2) and |r| <= ln 2 / 2, e^r by
// its Taylor polynomial of degree 7.
inline float exponential_in_range(float x) {
  const float n = floorf(x * 1.44269504f + 0.5f);
  const float r = in_order(x - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts
  const float r2 = r * r;  // in pairs (Estrin), a third of the chain that Horner's rule would be
  const float high = (r * (1.0f / 5040) + 1.0f / 720) * r2 + (r * (1.0f / 120) + 1.0f / 24);
  const float p = high * (r2 * r2) + ((r * (1.0f / 6) + 0.5f) * r2 + (r + 1.0f));
  const uint32_t bits = static_cast<uint32_t>(static_cast<int32_t>(n) + 127) << 23;
  float power;
  memcpy(&power, &bits, 4);
  return p * power;
}

// c ? a : b without a branch. GCC makes a copy of what follows for a constant a or b, and g / (1 + e^88), a subnormal
// number that takes a hundred times as long as others, was then computed for every element.
inline float choose(bool c, float a, float b) {
  uint32_t x, y;
  memcpy(&x, &a, 4);
  memcpy(&y, &b, 4);
  const uint32_t mask = -static_cast<uint32_t>(c), bits = (x & mask) | (y & ~mask);
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

// e^x, of numbers outside [-87, 88] that of the nearest inside.
inline float exponential(float x) {
  return exponential_in_range(choose(x < -87.0f, -87.0f, choose(x > 88.0f, 88.0f, x)));
}

// e^x for x <= 0; below -87 it gives about 1e-38.
inline float exponential_of_negative(float x) { return exponential_in_range(x < -87.0f ? -87.0f : x); }

}  // namespace
}  // namespace caravan::kernels
