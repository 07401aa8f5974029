#include <string.h>

#include "caravan/kernels/panel_gemm.h"
#include "caravan/kernels/table.h"

namespace caravan::kernels {

extern const PanelTable kPortableTablePanels;
#if defined(__x86_64__)
extern const PanelTable kAvx2TablePanels;
extern const PanelTable kAvx512TablePanels;
#endif

const PanelTable* panel_table([[maybe_unused]] const char* isa) {
#if defined(__x86_64__)
  if (strcmp(isa, "avx512") == 0) return &kAvx512TablePanels;
  if (strcmp(isa, "avx2") == 0) return &kAvx2TablePanels;
#endif
  return &kPortableTablePanels;
}

const PanelTable& panel_table() {
  static const PanelTable* chosen = panel_table(table().isa);
  return *chosen;
}

void pack_panels(const float* weight, int64_t rows, int64_t width, int64_t first, int64_t last, float* panels) {
  for (int64_t p = first; p < last; ++p) {
    float* to = panels + p * kPanelRows * width;
    for (int64_t j = 0; j < kPanelRows; ++j) {
      const int64_t row = p * kPanelRows + j;
      for (int64_t k = 0; k < width; ++k) to[k * kPanelRows + j] = row < rows ? weight[row * width + k] : 0.0f;
    }
  }
}

}  // namespace caravan::kernels
