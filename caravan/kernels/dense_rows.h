// Products with dense weights as they lie in a file, y = x W^T for any number of inputs: W [rows, width] row by row in
// f32, f16 or bf16. Sums are fp32 and run in an order that the width alone decides, so neighbours in a batch change no
// bit. Beside bf16 weights inputs are bf16, rounded once a product as GEMMs of that type want them; else fp32.
//
// Inputs come split into pieces of kPieceBytes, so that those of many inputs do not compete for the same places of the
// caches: first the first columns of all inputs, then the next ones. One input, and short ones, look as before.
//
//   std::vector<uint16_t> inputs(m * width);
//   rows.split_bf16(x, inputs.data(), {.inputs = m, .width = width, .first = 0, .last = m});
//   rows.bf16(weights, inputs.data(), y, {.begin = 0, .end = n, .width = width, .inputs = m, .stride = n});
#pragma once

#include <stdint.h>

namespace caravan::kernels {

inline constexpr int64_t kPieceBytes = 3072;

struct DenseRows {
  int64_t begin, end;      // rows of W to multiply
  int64_t width;           // columns
  int64_t inputs, stride;  // y[i * stride + row], i < inputs
};

// Inputs [first, last) of x [inputs, width] go to their places in the pieces.
struct SplitShape {
  int64_t inputs, width, first, last;
};

struct DenseRowsTable {
  void (*f32)(const float* w, const float* x, float* y, const DenseRows& shape);
  void (*f16)(const uint16_t* w, const float* x, float* y, const DenseRows& shape);
  void (*bf16)(const uint16_t* w, const uint16_t* x, float* y, const DenseRows& shape);
  void (*split_f32)(const float* x, float* to, const SplitShape& shape);
  void (*split_bf16)(const float* x, uint16_t* to, const SplitShape& shape);
};

const DenseRowsTable& dense_rows_table();                 // of the instruction set of table(), AVX512-BF16 where it is
const DenseRowsTable* dense_rows_table(const char* isa);  // portable, avx2, avx512, avx512bf16

// Whether the CPU multiplies tiles of bf16 matrices (AMX), as libtorch's GEMM does then: some times faster than these.
bool has_bf16_tiles();

// Whether splitting would leave fp32 inputs as they are.
inline bool is_one_piece(int64_t inputs, int64_t width) {
  return inputs == 1 || width * static_cast<int64_t>(sizeof(float)) <= kPieceBytes;
}

}  // namespace caravan::kernels
