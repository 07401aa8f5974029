// Bodies of panel_gemm.h. Compiled once per instruction set, without reassociation: sums keep their order.
#include "caravan/kernels/panel_gemm.h"

#include <string.h>

#include "caravan/kernels/sixteen.h"

namespace caravan::kernels {
namespace {

// The tile that all products here are made of: R inputs and one panel of 32 outputs keep their sums in registers,
// 24 of 32, or 12 of 16.
#if defined(__AVX512F__)
constexpr int kRows = 12, kVectors = 2;
#elif defined(__AVX2__)
constexpr int kRows = 6, kVectors = 1;
#else
constexpr int kRows = 4, kVectors = 1;
#endif

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
  for (int64_t k = 0; k < t.width; ++k, panel += kPanelRows, x += kInterleaved ? kRows : 1) {
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

void multiply(const PanelProduct& p) {
  // Inputs of 256 KB at a time stay in the second-level cache while all panels meet them.
  const int64_t block = (65536 / p.width + kRows) / kRows * kRows;
  for (int64_t from = 0; from < p.m; from += block) {
    const int64_t to = from + block < p.m ? from + block : p.m;
    for (int64_t n = p.first * kPanelRows; n < p.last * kPanelRows && n < p.rows; n += 16 * kVectors) {
      const float* panel = p.panels + n / kPanelRows * kPanelRows * p.width + n % kPanelRows;
      for (int64_t row = from; row < to; row += kRows) {
        tile_of(to - row, {.x = p.x + row * p.x_stride,
                           .x_stride = p.x_stride,
                           .panel = panel,
                           .width = p.width,
                           .y = p.y + row * p.y_stride + n,
                           .y_stride = p.y_stride,
                           .columns = p.rows - n,
                           .add = p.add});
      }
    }
  }
}

// B's rows [first, first + depth), columns [begin, end) as panels.
void pack_b(const Gemm& g, int64_t first, int64_t depth, int64_t begin, int64_t end, float* to) {
  for (int64_t n = begin; n < end; n += kPanelRows, to += depth * kPanelRows) {
    const int64_t columns = end - n < kPanelRows ? end - n : kPanelRows;
    if (columns < kPanelRows) memset(to, 0, static_cast<size_t>(depth * kPanelRows) * sizeof *to);
    if (g.b_transposed) {
      constexpr int64_t kStep = 16;  // a line of every row at a time
      for (int64_t k0 = 0; k0 < depth; k0 += kStep) {
        const int64_t k1 = k0 + kStep < depth ? k0 + kStep : depth;
        for (int64_t j = 0; j < columns; ++j) {
          const float* from = g.b + (n + j) * g.b_stride + first;
          for (int64_t k = k0; k < k1; ++k) to[k * kPanelRows + j] = from[k];
        }
      }
    } else {
      for (int64_t k = 0; k < depth; ++k)
        memcpy(to + k * kPanelRows, g.b + (first + k) * g.b_stride + n, static_cast<size_t>(columns) * sizeof *to);
    }
  }
}

// Rows [begin, end) of A, which lies across, and their columns [first, first + depth): groups of kRows, interleaved.
void pack_a(const Gemm& g, int64_t first, int64_t depth, int64_t begin, int64_t end, float* to) {
  for (int64_t i = begin; i < end; i += kRows, to += depth * kRows) {
    const int64_t rows = end - i < kRows ? end - i : kRows;
    const float* from = g.a + first * g.a_stride + i;
    if (rows == kRows) {
      for (int64_t k = 0; k < depth; ++k) memcpy(to + k * kRows, from + k * g.a_stride, kRows * sizeof *to);
    } else {
      for (int64_t k = 0; k < depth; ++k)
        memcpy(to + k * kRows, from + k * g.a_stride, static_cast<size_t>(rows) * sizeof *to);
    }
  }
}

// A slab of B of 512 KB and a block of A of 192 KB stay in the second-level cache.
constexpr int64_t kDepth = 512, kColumns = 256, kBlock = 96;
static_assert(kGemmScratch >= kDepth * (kColumns + kBlock + kRows) && kBlock % kRows == 0 &&
              kColumns % kPanelRows == 0);

// A rectangle of C: rows [top, bottom), columns [left, right).
struct Part {
  int64_t top, bottom, left, right;
};

void multiply_part(const Gemm& g, Tile t, const float* slab, const Part& part) {
  const float* a = t.x;
  for (int64_t n = part.left; n < part.right; n += 16 * kVectors) {
    const int64_t at = n - part.left;
    t.panel = slab + at / kPanelRows * kPanelRows * t.width + at % kPanelRows;
    t.columns = part.right - n;
    for (int64_t i = part.top; i < part.bottom; i += kRows) {
      t.x = a + (i - part.top) * t.x_stride;
      t.y = g.c + i * g.c_stride + n;
      if (g.a_transposed)
        tile_of<true>(part.bottom - i, t);
      else
        tile_of<false>(part.bottom - i, t);
    }
  }
}

void gemm(const Gemm& g) {
  float *slab = g.scratch, *block = g.scratch + kDepth * kColumns;
  const auto until = [](int64_t from, int64_t step, int64_t end) { return end - from < step ? end : from + step; };
  for (int64_t left = g.first_column; left < g.last_column; left += kColumns) {
    const int64_t right = until(left, kColumns, g.last_column);
    for (int64_t k = 0; k < g.depth; k += kDepth) {
      const int64_t depth = until(k, kDepth, g.depth) - k;
      pack_b(g, k, depth, left, right, slab);
      for (int64_t top = g.first_row; top < g.last_row; top += kBlock) {
        const Part part{top, until(top, kBlock, g.last_row), left, right};
        if (g.a_transposed) pack_a(g, k, depth, part.top, part.bottom, block);
        const Tile tile{.x = g.a_transposed ? block : g.a + top * g.a_stride + k,
                        .x_stride = g.a_transposed ? depth : g.a_stride,  // interleaved: a row's share
                        .panel = nullptr,
                        .width = depth,
                        .y = nullptr,
                        .y_stride = g.c_stride,
                        .columns = 0,
                        .add = g.add || k > 0};
        multiply_part(g, tile, slab, part);
      }
    }
  }
}

}  // namespace

extern const PanelTable CARAVAN_PANELS;
const PanelTable CARAVAN_PANELS = {multiply, gemm};

}  // namespace caravan::kernels
