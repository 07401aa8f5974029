// The tile that products with repacked weights are made of: R inputs and one panel of 32 outputs keep their sums in
// registers. Static functions only (sixteen.h); to be compiled without reassociation: sums keep their order.
#pragma once

#include <stdint.h>

#include "caravan/kernels/sixteen.h"

namespace caravan::kernels {
namespace {

// 24 sums of 32 registers, or 12 of 16.
#if defined(__AVX512F__)
constexpr int kRows = 12, kVectors = 2;
#elif defined(__AVX2__)
constexpr int kRows = 6, kVectors = 1;
#else
constexpr int kRows = 4, kVectors = 1;
#endif

inline constexpr int64_t kPanelWidth = 32;

// y[i, j] = or += sum over k of x[i, k] panel[k, j], i < R, j < columns (at most 16 kVectors are looked at).
struct Tile {
  const float* x;  // x[i, k] at x[i * x_stride + k]; interleaved: at x[k * kRows + i]
  int64_t x_stride;
  const float* panel;  // [width, 32]
  int64_t width;
  float* y;
  int64_t y_stride, columns;
  bool add;
};

template <int R, bool kInterleaved = false>
void tile(const Tile& t) {
  Floats sums[R][kVectors];
  for (auto& row : sums) {
    for (Floats& s : row) s = zeros();
  }
  const float* panel = t.panel;
  const float* x = t.x;
  const int64_t stride = kInterleaved ? 1 : t.x_stride;
  for (int64_t k = 0; k < t.width; ++k, panel += kPanelWidth, x += kInterleaved ? kRows : 1) {
    Floats w[kVectors];
    for (int v = 0; v < kVectors; ++v) w[v] = load(panel + 16 * v);
#pragma GCC unroll 12
    for (int i = 0; i < R; ++i) {
      const Floats input = all(x[i * stride]);
      for (int v = 0; v < kVectors; ++v) sums[i][v] = multiply_add(input, w[v], sums[i][v]);
    }
  }
  if (t.columns >= 16 * kVectors) {
    for (int i = 0; i < R; ++i) {
      float* to = t.y + i * t.y_stride;
      for (int v = 0; v < kVectors; ++v) store(t.add ? add(load(to + 16 * v), sums[i][v]) : sums[i][v], to + 16 * v);
    }
    return;
  }
  for (int i = 0; i < R; ++i) {
    float out[16 * kVectors], *to = t.y + i * t.y_stride;
    for (int v = 0; v < kVectors; ++v) store(sums[i][v], out + 16 * v);
    for (int64_t j = 0; j < t.columns; ++j) to[j] = t.add ? to[j] + out[j] : out[j];
  }
}

template <bool kInterleaved = false, int R = kRows>
void tile_of(int64_t rows, const Tile& t) {
  if (rows >= R) return tile<R, kInterleaved>(t);
  if constexpr (R > 1) tile_of<kInterleaved, R - 1>(rows, t);
}

}  // namespace
}  // namespace caravan::kernels
