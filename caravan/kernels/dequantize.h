// Rows of GGUF's storage types as float: scalars (f16, bf16) and GGML's block-quantized types.
//
//   dequantize_q4_0(blocks, out, 4096);   // 4096 elements = 128 blocks of 18 bytes
//
// Every function reads n elements (a multiple of the type's block size) from any address, aligned or not, and writes n
// floats. The arithmetic is the reference's, operation by operation, so results are equal to the last bit.
// Reference: ggml's dequantize_row_* (ggml-quants.c) and the `gguf` Python package. These are the readable, portable
// loops; they depend on nothing and are the oracle of faster ones.
#pragma once

#include <cstddef>
#include <cstdint>

namespace caravan::kernels {

using DequantizeKernel = void (*)(const std::byte* from, float* to, int64_t n) noexcept;

void dequantize_f16(const std::byte* from, float* to, int64_t n) noexcept;
void dequantize_bf16(const std::byte* from, float* to, int64_t n) noexcept;

// Blocks of 32 elements.
void dequantize_q4_0(const std::byte* from, float* to, int64_t n) noexcept;
void dequantize_q4_1(const std::byte* from, float* to, int64_t n) noexcept;
void dequantize_q5_0(const std::byte* from, float* to, int64_t n) noexcept;
void dequantize_q5_1(const std::byte* from, float* to, int64_t n) noexcept;
void dequantize_q8_0(const std::byte* from, float* to, int64_t n) noexcept;
void dequantize_iq4_nl(const std::byte* from, float* to, int64_t n) noexcept;

// Super-blocks of 256 elements.
void dequantize_q2_k(const std::byte* from, float* to, int64_t n) noexcept;
void dequantize_q3_k(const std::byte* from, float* to, int64_t n) noexcept;
void dequantize_q4_k(const std::byte* from, float* to, int64_t n) noexcept;
void dequantize_q5_k(const std::byte* from, float* to, int64_t n) noexcept;
void dequantize_q6_k(const std::byte* from, float* to, int64_t n) noexcept;
void dequantize_iq4_xs(const std::byte* from, float* to, int64_t n) noexcept;

}  // namespace caravan::kernels
