// Stored elements of any weight type as float: the table from DType to the kernel that reads it.
//
//   std::vector<float> row(n);
//   dequantize(DType::q4_k, bytes, row.data(), n);
//
// Covers f32, f16, bf16 and every block-quantized type of base/dtype.h; not the integers, f64 and f8.
#pragma once

#include <cstddef>
#include <cstdint>

#include "caravan/base/dtype.h"

namespace caravan::ops {

bool can_dequantize(DType dtype);

// Reads n elements, n a multiple of the type's block size, from any address. Splitting a row at block boundaries gives
// the same floats, so callers may share a tensor out among threads. Throws unsupported for a type without a kernel and
// invalid_argument for half a block.
void dequantize(DType dtype, const std::byte* from, float* to, int64_t n);

}  // namespace caravan::ops
