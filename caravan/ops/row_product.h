// Rows of y = x W^T for callers that share them out among their own threads: ops::linear, and the fused decoder layer.
//
//   const RowProduct product(weight);
//   if (product.fits(m)) product.run(inputs, y, stride, first, last);      // tasks [first, last) of product.tasks()
#pragma once

#include "caravan/kernels/table.h"
#include "caravan/ops/linear.h"

namespace caravan::ops {

// A few fp32 inputs, and the same as integers where a packed weight wants them.
struct RowInputs {
  const float* x;                     // [m, columns]
  const kernels::InputGroup* groups;  // [m, columns / 32], or null
  int64_t m, columns;
};

// A weight on the CPU with fp32 inputs, as tasks of 16 rows. Refers to the weight's storage without holding it.
class RowProduct {
 public:
  static constexpr int64_t kTaskRows = kernels::kTileRows;

  explicit RowProduct(const Weight& weight);
  bool fits(int64_t m) const;  // false: the weight is none of those below, or a GEMM is better for so many inputs
  bool wants_groups() const { return kind_ == Kind::packed; }
  int64_t tasks() const { return (rows_ + kTaskRows - 1) / kTaskRows; }
  int64_t rows() const { return rows_; }
  // Asks for the first bytes of a task, so that they are on their way while other work is done.
  void prefetch(int64_t task) const;
  // y[i * stride + row] for the rows of tasks [first, last); the value of a row depends on nothing but its input.
  void run(const RowInputs& inputs, float* y, int64_t stride, int64_t first, int64_t last) const;

 private:
  enum class Kind : uint8_t { none, packed, f16, f32 };
  Kind kind_ = Kind::none;
  const void* data_ = nullptr;
  kernels::PackedMultiply multiply_ = nullptr;
  int64_t rows_, columns_, tile_bytes_ = 0;
};

}  // namespace caravan::ops
