// Single numbers of the types that kernels store. Static functions only, as in sixteen.h.
#pragma once

#include <stdint.h>
#include <string.h>

#include "caravan/kernels/table.h"

namespace caravan::kernels {
namespace {

inline float load(float x) { return x; }
inline float load(int8_t x) { return x; }
inline float load(bf16 x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

inline void store(float x, float* to) { *to = x; }
inline void store(float x, bf16* to) {  // round to nearest even; a NaN stays one
  uint32_t bits;
  memcpy(&bits, &x, 4);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  *to = static_cast<bf16>(x != x ? 0x7fc0 : rounded);
}

template <class T>
inline float rounded(float x, T*) {  // the value that storing as T keeps
  T t;
  store(x, &t);
  return load(t);
}

// One product after another; vectorized only where the file lets sums be reassociated.
template <class T, class S>
inline float plain_dot(const T* a, const S* b, int64_t n) {
  float sum = 0.0f;
  for (int64_t i = 0; i < n; ++i) sum += load(a[i]) * load(b[i]);
  return sum;
}

}  // namespace
}  // namespace caravan::kernels
