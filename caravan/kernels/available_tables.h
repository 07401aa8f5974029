// For tests: the table of every instruction set that this machine can run.
#pragma once

#include <vector>

#include "caravan/kernels/table.h"

namespace caravan::kernels {

extern const Table kPortableTable;
#if defined(__x86_64__)
extern const Table kAvx2Table;
extern const Table kAvx512Table;
#endif

inline std::vector<const Table*> available_tables() {
  std::vector<const Table*> tables = {&kPortableTable};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) tables.push_back(&kAvx2Table);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni")) {
    tables.push_back(&kAvx512Table);
  }
#endif
  return tables;
}

}  // namespace caravan::kernels
