// y = x W^T + b for a weight that is dense or block-quantized, and the lookup of its rows.
#pragma once

#include <ATen/core/Tensor.h>

#include "caravan/base/dtype.h"

namespace caravan::ops {

using at::Tensor;

// Dense: value [rows, columns] in a floating-point type. Block-quantized: the rows' blocks as u8, of type `dtype`.
struct Weight {
  const Tensor& value;
  DType dtype;
  int64_t rows, columns;
};

// x [..., columns] -> [..., rows]; bias undefined or [rows]. Differentiable in x, and in a dense weight and bias.
Tensor linear(const Tensor& x, const Weight& weight, const Tensor& bias);

// ids int64 [...] -> [..., columns]; an id outside [0, rows) is an invalid_argument. Rows looked up by `padding_index`
// (-1: none) pass no gradient to the weight.
Tensor embedding(const Tensor& ids, const Weight& weight, int64_t padding_index = -1);

// The whole weight as a dense [rows, columns] tensor of this type.
Tensor dense(const Weight& weight, at::ScalarType dtype);

}  // namespace caravan::ops
