// y = x W^T + b for a weight that is dense or block-quantized, and the lookup of its rows.
#pragma once

#include <ATen/core/Tensor.h>

#include <span>
#include <vector>

#include "caravan/base/dtype.h"

namespace caravan::ops {

using at::Tensor;

// Dense: value [rows, columns] in a floating-point type. Block-quantized: the rows' blocks as u8, of type `dtype`, and
// their packed form where it was made. f16 and bf16 with `packed` (the same tensor) stay in the file's numbers and have
// fp32 inputs and outputs, as blocks have; without, inputs are of the weight's type.
struct Weight {
  const Tensor& value;
  DType dtype;
  int64_t rows, columns;
  Tensor packed = {};  // pack() of a block-quantized weight
};

// Whether a weight's inputs and outputs are fp32, whatever it is stored in.
inline bool runs_in_fp32(DType dtype, const Tensor& packed) { return is_block_quantized(dtype) || packed.defined(); }

// Memory for what every token reads whole: pieces of large blocks, which the system backs with huge pages where it can.
// Ten thousands of small pages cost a third of the bandwidth (measured: 9.8 GB/s instead of 14.1).
class Arena {
 public:
  Tensor take(int64_t bytes);  // u8, uninitialized, aligned to 64 bytes; the block lives as long as a piece of it

 private:
  Tensor block_;
  int64_t used_ = 0;
};

// Raised whenever pack() gives other bytes: what is kept of them on disk is made anew then.
inline constexpr int kPackedLayout = 1;
int64_t packed_bytes(const Weight& weight);

// A block-quantized weight in the order in which products read it (kernels/packed.h): as many bytes, made once.
// Products round their inputs to 16 bits a group of 32; without the packed form they go through a dense copy.
Tensor pack(const Weight& weight, Arena* arena = nullptr);

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
