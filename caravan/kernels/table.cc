// Chooses the kernel table once; see table.h. A CARAVAN_ISA that this machine lacks, or an unknown one (which the
// program refuses), falls back to the best one.
#include "caravan/kernels/table.h"

#include <stdlib.h>
#include <string.h>

namespace caravan::kernels {

extern const Table kPortableTable;
#if defined(__x86_64__)
extern const Table kAvx2Table;
extern const Table kAvx512Table;
#endif

namespace {

const Table* choose() {
#if defined(__x86_64__)
  // GCC's checks include the operating system's (XGETBV).
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vnni");
  const char* forced = getenv("CARAVAN_ISA");
  if (forced != nullptr && strcmp(forced, "portable") == 0) return &kPortableTable;
  if (forced != nullptr && strcmp(forced, "avx2") == 0 && avx2) return &kAvx2Table;
  if (avx512) return &kAvx512Table;
  if (avx2) return &kAvx2Table;
#endif
  return &kPortableTable;
}

}  // namespace

const Table& table() {
  static const Table* chosen = choose();
  return *chosen;
}

}  // namespace caravan::kernels
