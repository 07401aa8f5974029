// Rows of y = x W^T for callers that share them out among their own threads: ops::linear, and the fused decoder layer.
//
//   const RowProduct product(weight);
//   RowInputs inputs = buffer.inputs(x, m, columns, product.wants());      // in the form that the weight multiplies
//   buffer.fill(inputs, 0, m);
//   product.run(inputs, y, stride, first, last);                           // tasks [first, last) of product.tasks()
#pragma once

#include <cstdlib>
#include <memory>

#include "caravan/kernels/dense_rows.h"
#include "caravan/kernels/table.h"
#include "caravan/ops/linear.h"

namespace caravan::ops {

// What weights want their inputs to be.
struct InputForms {
  bool integers = false, floats = false, halves = false;
  InputForms operator|(const InputForms& other) const {
    return {integers || other.integers, floats || other.floats, halves || other.halves};
  }
};

const kernels::PackedType* packed_type(DType dtype);  // null where blocks of this type have no packed form

// fp32 inputs, in every form that somebody wants.
struct RowInputs {
  const float* x;  // [m, columns]
  int64_t m, columns;
  const kernels::InputGroup* groups;  // [m, columns / 32] for packed weights
  const float* floats;                // in pieces (kernels/dense_rows.h) for fp32 and half-precision weights
  const kernels::bf16* halves;        // the same for bf16 weights
};

// Memory for the forms of one product's inputs after another.
class RowInputBuffer {
 public:
  RowInputs inputs(const float* x, int64_t m, int64_t columns, const InputForms& forms);
  static void fill(const RowInputs& inputs, int64_t first, int64_t last);  // of inputs [first, last)

 private:
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };
  std::unique_ptr<std::byte, Free> memory_;
  int64_t size_ = 0;
};

// A weight on the CPU with fp32 inputs, as tasks of 16 rows. Refers to the weight's storage without holding it.
class RowProduct {
 public:
  static constexpr int64_t kTaskRows = kernels::kTileRows;

  explicit RowProduct(const Weight& weight);
  explicit operator bool() const { return kind_ != Kind::none; }  // false: the weight is none that kernels multiply
  InputForms wants() const {
    return {kind_ == Kind::packed, kind_ == Kind::f16 || kind_ == Kind::f32, kind_ == Kind::bf16};
  }
  int64_t tasks() const { return (rows_ + kTaskRows - 1) / kTaskRows; }
  int64_t rows() const { return rows_; }
  // What tasks [first, last) read of the weight, up to `most` bytes.
  kernels::Ahead bytes(int64_t first, int64_t last, int64_t most) const;
  // y[i * stride + row] for the rows of tasks [first, last); the value of a row depends on nothing but its input.
  void run(const RowInputs& inputs, float* y, int64_t stride, int64_t first, int64_t last) const;

 private:
  enum class Kind : uint8_t { none, packed, f16, bf16, f32 };
  Kind kind_ = Kind::none;
  const void* data_ = nullptr;
  kernels::PackedMultiply multiply_ = nullptr;
  int64_t rows_, columns_, task_bytes_ = 0;
};

}  // namespace caravan::ops
