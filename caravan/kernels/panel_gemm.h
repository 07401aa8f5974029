// Matrix product with an fp32 weight that was repacked once: y = x W^T. Each sum runs over the features in their order,
// so an output's bits depend neither on the other rows nor on how the work was shared out.
//
// W [N, K] becomes ceil(N / 32) panels of [K, 32]: panel p holds rows 32 p .. 32 p + 31 of W, feature by feature.
// Measured on one core of Zen 5: 124 to 130 billion multiply-adds a second (of 132) from 20 x 256 x 1024 to 1024 x 1024
// x 256.
#pragma once

#include <stdint.h>

namespace caravan::kernels {

inline constexpr int64_t kPanelRows = 32;

inline constexpr int64_t panel_count(int64_t rows) { return (rows + kPanelRows - 1) / kPanelRows; }

struct PanelProduct {
  const float* x;  // [m, K]
  int64_t m, width, x_stride;
  const float* panels;
  int64_t rows;  // N
  float* y;      // [m, N]
  int64_t y_stride;
  bool add;             // y += x W^T
  int64_t first, last;  // panels to compute
};

// C = A B or C += A B for matrices whose every value is read anew, as in training: B is repacked into panels, and A,
// where it lies across, into groups of rows, a piece at a time that the second-level cache holds. Sums run over k in
// pieces of 512, so an output's bits do not depend on how C was shared out.
struct Gemm {
  const float* a;
  int64_t a_stride;
  bool a_transposed;  // A[i, k] at a[k * a_stride + i] instead of a[i * a_stride + k]
  const float* b;
  int64_t b_stride;
  bool b_transposed;  // B[k, j] at b[j * b_stride + k] instead of b[k * b_stride + j]
  float* c;           // C[i, j] at c[i * c_stride + j]
  int64_t c_stride;
  int64_t depth;  // of k
  bool add;
  int64_t first_row, last_row, first_column, last_column;  // of C: what to compute
  float* scratch;                                          // kGemmScratch floats of this thread's, 64-byte aligned
};

inline constexpr int64_t kGemmScratch = 512 * (256 + 96 + 12);

struct PanelTable {
  void (*multiply)(const PanelProduct& product);
  void (*gemm)(const Gemm& gemm);
};

const PanelTable& panel_table();  // of the instruction set of table()
const PanelTable* panel_table(const char* isa);

// Whether the CPU is Intel's, for which MKL has kernels of its own.
bool is_intel();

// Panels [first, last) of W [rows, width].
void pack_panels(const float* weight, int64_t rows, int64_t width, int64_t first, int64_t last, float* panels);

}  // namespace caravan::kernels
