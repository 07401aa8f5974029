// libtorch's element types and those of files.
#pragma once

#include <ATen/core/Tensor.h>

#include "caravan/base/dtype.h"

namespace caravan::ops {

at::ScalarType to_scalar_type(DType dtype);  // unsupported for block types
DType to_dtype(at::ScalarType type);         // unsupported for types that no file stores

}  // namespace caravan::ops
