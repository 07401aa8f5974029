// The names that CARAVAN_ISA may have.
#pragma once

namespace caravan::kernels {

inline constexpr const char* kInstructionSets[] = {"portable", "avx2", "avx512"};

}  // namespace caravan::kernels
