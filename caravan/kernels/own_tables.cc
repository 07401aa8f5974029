// The tables of the kernels that have files of their own: those of the instruction set that table() has chosen.
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <string.h>

#include "caravan/kernels/causal_gradient.h"
#include "caravan/kernels/dense_rows.h"
#include "caravan/kernels/panel_gemm.h"
#include "caravan/kernels/table.h"
#include "caravan/kernels/tree_attention.h"

namespace caravan::kernels {

extern const TreeTable kPortableTableTree;
extern const PanelTable kPortableTablePanels;
extern const CausalTable kPortableTableCausal;
extern const DenseRowsTable kPortableTableRows;
#if defined(__x86_64__)
extern const TreeTable kAvx2TableTree, kAvx512TableTree;
extern const PanelTable kAvx2TablePanels, kAvx512TablePanels;
extern const CausalTable kAvx2TableCausal, kAvx512TableCausal;
extern const DenseRowsTable kAvx2TableRows, kAvx512TableRows, kAvx512Bf16TableRows;
#define CARAVAN_TABLES(kind) &kPortableTable##kind, &kAvx2Table##kind, &kAvx512Table##kind
#else
#define CARAVAN_TABLES(kind) &kPortableTable##kind, &kPortableTable##kind, &kPortableTable##kind
#endif

namespace {

template <class T>
const T* pick(const char* isa, const T* portable, const T* avx2, const T* avx512) {
  return strcmp(isa, "avx512") == 0 ? avx512 : strcmp(isa, "avx2") == 0 ? avx2 : portable;
}

}  // namespace

const TreeTable* tree_table(const char* isa) { return pick(isa, CARAVAN_TABLES(Tree)); }
const PanelTable* panel_table(const char* isa) { return pick(isa, CARAVAN_TABLES(Panels)); }
const CausalTable* causal_table(const char* isa) { return pick(isa, CARAVAN_TABLES(Causal)); }

const DenseRowsTable* dense_rows_table(const char* isa) {
#if defined(__x86_64__)
  if (strcmp(isa, "avx512bf16") == 0) return &kAvx512Bf16TableRows;
#endif
  return pick(isa, CARAVAN_TABLES(Rows));
}

const TreeTable& tree_table() {
  static const TreeTable* chosen = tree_table(table().isa);
  return *chosen;
}
const PanelTable& panel_table() {
  static const PanelTable* chosen = panel_table(table().isa);
  return *chosen;
}
const CausalTable& causal_table() {
  static const CausalTable* chosen = causal_table(table().isa);
  return *chosen;
}

const DenseRowsTable& dense_rows_table() {
  static const DenseRowsTable* chosen = [] {
#if defined(__x86_64__)
    if (strcmp(table().isa, "avx512") == 0 && __builtin_cpu_supports("avx512bf16")) {
      return dense_rows_table("avx512bf16");
    }
#endif
    return dense_rows_table(table().isa);
  }();
  return *chosen;
}

bool has_bf16_tiles() {
#if defined(__x86_64__)
  static const bool has = [] {  // asked once: a virtual machine leaves to its host for it
    unsigned a = 0, b = 0, c = 0, d = 0;
    constexpr unsigned kTiles = 1U << 22 | 1U << 24;  // AMX-BF16, AMX-TILE
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & kTiles) == kTiles;
  }();
  return has;
#else
  return false;
#endif
}

bool is_intel() {
#if defined(__x86_64__)
  return __builtin_cpu_is("intel") != 0;
#else
  return false;
#endif
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
