#include <string.h>

#include "caravan/kernels/table.h"
#include "caravan/kernels/tree_attention.h"

namespace caravan::kernels {

extern const TreeTable kPortableTableTree;
#if defined(__x86_64__)
extern const TreeTable kAvx2TableTree;
extern const TreeTable kAvx512TableTree;
#endif

const TreeTable* tree_table([[maybe_unused]] const char* isa) {
#if defined(__x86_64__)
  if (strcmp(isa, "avx512") == 0) return &kAvx512TableTree;
  if (strcmp(isa, "avx2") == 0) return &kAvx2TableTree;
#endif
  return &kPortableTableTree;
}

const TreeTable& tree_table() {
  static const TreeTable* chosen = tree_table(table().isa);
  return *chosen;
}

}  // namespace caravan::kernels
