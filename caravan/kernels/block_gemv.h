// Matrix times vector for GGML's block-quantized weights, from their own bytes: no copy of the weight, float
// activations. Results are those of the dequantized weight up to the rounding of float sums.
//
//   const BlockGemv gemv = table().blocks->q4_k;
//   gemv(rows, x, y, 64, 4096, 1, 0);        // 64 rows of 4096 elements, one input
#pragma once

#include <stdint.h>

namespace caravan::kernels {

// y[i * stride + r] = sum over j of W[r, j] x[i, j]: W [count, width] in blocks, x [m, width]. `width` is a whole
// number of blocks. A weight row is unpacked once for up to four inputs.
using BlockGemv = void (*)(const uint8_t* rows, const float* x, float* y, int64_t count, int64_t width, int64_t m,
                           int64_t stride);

struct BlockTable {
  BlockGemv q4_0, q4_1, q5_0, q5_1, q8_0, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_nl, iq4_xs;
};

}  // namespace caravan::kernels
