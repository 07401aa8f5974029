// Bodies of panel_gemm.h. Compiled once per instruction set, without reassociation: sums keep their order.
#include "caravan/kernels/panel_gemm.h"

#include "caravan/kernels/sixteen.h"

namespace caravan::kernels {
namespace {

// A tile of R inputs and C vectors of outputs keeps its sums in registers: 24 of 32, or 12 of 16.
#if defined(__AVX512F__)
constexpr int kRows = 12, kVectors = 2;
#elif defined(__AVX2__)
constexpr int kRows = 6, kVectors = 1;
#else
constexpr int kRows = 4, kVectors = 1;
#endif

template <int R>
void tile(const PanelProduct& p, const float* x, const float* panel, float* y, int64_t columns) {
  Floats sums[R][kVectors];
  for (auto& row : sums) {
    for (Floats& s : row) s = zeros();
  }
  for (int64_t k = 0; k < p.width; ++k, panel += kPanelRows) {
    Floats w[kVectors];
    for (int v = 0; v < kVectors; ++v) w[v] = load(panel + 16 * v);
#pragma GCC unroll 12
    for (int i = 0; i < R; ++i) {
      const Floats input = all(x[i * p.x_stride + k]);
      for (int v = 0; v < kVectors; ++v) sums[i][v] = multiply_add(input, w[v], sums[i][v]);
    }
  }
  if (columns >= 16 * kVectors) {
    for (int i = 0; i < R; ++i) {
      float* to = y + i * p.y_stride;
      for (int v = 0; v < kVectors; ++v) store(p.add ? add(load(to + 16 * v), sums[i][v]) : sums[i][v], to + 16 * v);
    }
    return;
  }
  for (int i = 0; i < R; ++i) {
    float out[16 * kVectors], *to = y + i * p.y_stride;
    for (int v = 0; v < kVectors; ++v) store(sums[i][v], out + 16 * v);
    for (int64_t j = 0; j < columns; ++j) to[j] = p.add ? to[j] + out[j] : out[j];
  }
}

template <int R>
void last_tile(const PanelProduct& p, int64_t rows, const float* x, const float* panel, float* y, int64_t columns) {
  if (rows == R) return tile<R>(p, x, panel, y, columns);
  if constexpr (R > 1) last_tile<R - 1>(p, rows, x, panel, y, columns);
}

void multiply(const PanelProduct& p) {
  // Inputs of 256 KB at a time stay in the second-level cache while all panels meet them.
  const int64_t block = (65536 / p.width + kRows) / kRows * kRows;
  for (int64_t from = 0; from < p.m; from += block) {
    const int64_t to = from + block < p.m ? from + block : p.m;
    for (int64_t n = p.first * kPanelRows; n < p.last * kPanelRows && n < p.rows; n += 16 * kVectors) {
      const float* panel = p.panels + n / kPanelRows * kPanelRows * p.width + n % kPanelRows;
      int64_t row = from;
      for (; row + kRows <= to; row += kRows)
        tile<kRows>(p, p.x + row * p.x_stride, panel, p.y + row * p.y_stride + n, p.rows - n);
      if (row < to)
        last_tile<kRows - 1>(p, to - row, p.x + row * p.x_stride, panel, p.y + row * p.y_stride + n, p.rows - n);
    }
  }
}

}  // namespace

extern const PanelTable CARAVAN_PANELS;
const PanelTable CARAVAN_PANELS = {multiply};

}  // namespace caravan::kernels
