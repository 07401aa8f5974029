// Floats to the stored elements of any weight type: the way back of ops/dequantize.h.
//
//   std::vector<std::byte> blocks(tensor_bytes(DType::q4_k, shape, "w"));
//   quantize_rows({DType::q4_k, rows, columns}, values, importance, blocks.data());
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "caravan/base/dtype.h"

namespace caravan::ops {

bool can_quantize(DType dtype);  // the block types

struct RowsOf {
  DType dtype;
  int64_t rows, columns;  // columns: a multiple of the type's block
};

// values [rows, columns] into rows * columns / block blocks, on all threads. `importance` [columns]: how much an error
// in a column costs (kernels/quantize.h); empty: all the same. Throws unsupported for a type that is no block type and
// invalid_argument where sizes do not fit.
void quantize_rows(const RowsOf& shape, std::span<const float> values, std::span<const float> importance,
                   std::byte* to);

}  // namespace caravan::ops
