// Element types under the names that other programs write.
//
//   numpy_name(DType::bf16);                      // "bfloat16"
//   find_numpy_dtype("float8_e4m3fn");            // DType::f8_e4m3
//
// numpy's names (with ml_dtypes' additions) are those of config.json's dtype, of Flax and of torch.
#pragma once

#include "caravan/base/dtype.h"

namespace caravan {

std::string_view numpy_name(DType dtype);                      // "" for the block types
std::optional<DType> find_numpy_dtype(std::string_view name);  // by exactly this name

}  // namespace caravan
