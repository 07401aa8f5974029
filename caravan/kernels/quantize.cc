// One table an instruction set, chosen as kernels::table() is.
#include "caravan/kernels/quantize.h"

#include <string.h>

#include "caravan/kernels/table.h"

namespace caravan::kernels {

extern const QuantizeSmall portable_quantize_small;
extern const QuantizeSuper portable_quantize_super;
#if defined(__x86_64__)
extern const QuantizeSmall avx2_quantize_small, avx512_quantize_small;
extern const QuantizeSuper avx2_quantize_super, avx512_quantize_super;
#endif

const QuantizeTable* find_quantize_table(const char* isa) {
  static const QuantizeTable portable{portable_quantize_small, portable_quantize_super};
  if (strcmp(isa, "portable") == 0) return &portable;
#if defined(__x86_64__)
  static const QuantizeTable avx2{avx2_quantize_small, avx2_quantize_super};
  static const QuantizeTable avx512{avx512_quantize_small, avx512_quantize_super};
  if (strcmp(isa, "avx2") == 0) return &avx2;
  if (strcmp(isa, "avx512") == 0) return &avx512;
#endif
  return nullptr;
}

const QuantizeTable& quantize_table() {
  const QuantizeTable* chosen = find_quantize_table(table().isa);
  return chosen != nullptr ? *chosen : *find_quantize_table("portable");
}

}  // namespace caravan::kernels
