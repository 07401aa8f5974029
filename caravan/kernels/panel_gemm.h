// Matrix product with an fp32 weight that was repacked once: y = x W^T. Each sum runs over the features in their order,
// so an output's bits depend neither on the other rows nor on how the work was shared out.
//
// W [N, K] becomes ceil(N / 32) panels of [K, 32]: panel p holds rows 32 p .. 32 p + 31 of W, feature by feature.
// Measured on Zen 4, one core, with a trial of the same tile: 116 GFLOP/s at 48 x 768 x 256; libtorch's sgemm 84 to 97.
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

struct PanelTable {
  void (*multiply)(const PanelProduct& product);
};

const PanelTable& panel_table();  // of the instruction set of table()
const PanelTable* panel_table(const char* isa);

// Panels [first, last) of W [rows, width].
void pack_panels(const float* weight, int64_t rows, int64_t width, int64_t first, int64_t last, float* panels);

}  // namespace caravan::kernels
