// Rows of floats into GGML's block-quantized types: the way back of dequantize.h.
//
//   quantize_table().q4_k(row, nullptr, blocks, 4096);          // 4096 floats into 16 blocks of 144 bytes
//   quantize_table().q4_k(row, importance, blocks, 4096);       // importance[i]: how much an error in column i costs
//
// q8_0, q4_0, q4_1, q5_0 and q5_1 without importance are ggml's reference quantizers, equal to the last byte. All
// others (and these, but q8_0, with importance, be it 1 everywhere) choose scales and minima that make sum w (x - y)^2
// small: candidates for the scale of a group, least squares for each, then the rounding of scales and minima to their
// own few bits is searched as well, against the error that it causes. w is the importance, the mean square of the
// activation that the column is multiplied by; without it, 1: the sum is then the plain squared error. Results do not
// depend on the instruction set: sums have a fixed order, products are not fused with additions.
#pragma once

#include <cstddef>
#include <cstdint>

namespace caravan::kernels {

// from: n floats, finite, n a multiple of the block; importance: n floats >= 0, or nullptr; to: any address.
using QuantizeKernel = void (*)(const float* from, const float* importance, std::byte* to, int64_t n);

struct QuantizeSmall {  // blocks of 32
  QuantizeKernel q4_0, q4_1, q5_0, q5_1, q8_0, iq4_nl;
};
struct QuantizeSuper {  // super-blocks of 256
  QuantizeKernel q2_k, q3_k, q4_k, q5_k, q6_k, iq4_xs;
};
struct QuantizeTable : QuantizeSmall, QuantizeSuper {};

const QuantizeTable& quantize_table();                      // for the instruction set of table()
const QuantizeTable* find_quantize_table(const char* isa);  // "portable", "avx2", "avx512"; nullptr where not compiled

}  // namespace caravan::kernels
