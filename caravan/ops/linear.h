// y = x W^T + b for a weight that is dense or block-quantized, and the lookup of its rows.
#pragma once

#include <ATen/core/Tensor.h>

#include <span>
#include <vector>

#include "caravan/base/dtype.h"

namespace caravan::ops {

using at::Tensor;

// Dense: value [rows, columns] in a floating-point type. Block-quantized: the rows' blocks as u8, of type `dtype`, and
// their packed form where it was made.
struct Weight {
  const Tensor& value;
  DType dtype;
  int64_t rows, columns;
  Tensor packed = {};  // pack() of a block-quantized weight
};

// A block-quantized weight in the order in which products read it (kernels/packed.h): as many bytes, made once.
// Products round their inputs to 16 bits a group of 32; without the packed form they go through a dense copy.
Tensor pack(const Weight& weight);

// x [..., columns] -> [..., rows]; bias undefined or [rows]. Differentiable in x, and in a dense weight and bias.
Tensor linear(const Tensor& x, const Weight& weight, const Tensor& bias);

// Several products of one input: outputs[i] = linear(x, weights[i], biases[i]). For few rows without gradients one pass
// over all weights, which shares the input's preparation and one fork-join of the threads.
std::vector<Tensor> linears(const Tensor& x, std::span<const Weight> weights, std::span<const Tensor> biases);

// ids int64 [...] -> [..., columns]; an id outside [0, rows) is an invalid_argument. Rows looked up by `padding_index`
// (-1: none) pass no gradient to the weight.
Tensor embedding(const Tensor& ids, const Weight& weight, int64_t padding_index = -1);

// The whole weight as a dense [rows, columns] tensor of this type.
Tensor dense(const Weight& weight, at::ScalarType dtype);

}  // namespace caravan::ops
