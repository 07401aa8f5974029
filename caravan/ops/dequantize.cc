// One line a storage type.
#include "caravan/ops/dequantize.h"

#include <cstring>

#include "caravan/base/error.h"
#include "caravan/kernels/dequantize.h"

namespace caravan::ops {
namespace {

void copy_f32(const std::byte* from, float* to, int64_t n) noexcept {
  if (n > 0) std::memcpy(to, from, static_cast<size_t>(n) * sizeof(float));
}

kernels::DequantizeKernel kernel_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return copy_f32;
    case DType::f16:
      return kernels::dequantize_f16;
    case DType::bf16:
      return kernels::dequantize_bf16;
    case DType::q4_0:
      return kernels::dequantize_q4_0;
    case DType::q4_1:
      return kernels::dequantize_q4_1;
    case DType::q5_0:
      return kernels::dequantize_q5_0;
    case DType::q5_1:
      return kernels::dequantize_q5_1;
    case DType::q8_0:
      return kernels::dequantize_q8_0;
    case DType::q2_k:
      return kernels::dequantize_q2_k;
    case DType::q3_k:
      return kernels::dequantize_q3_k;
    case DType::q4_k:
      return kernels::dequantize_q4_k;
    case DType::q5_k:
      return kernels::dequantize_q5_k;
    case DType::q6_k:
      return kernels::dequantize_q6_k;
    case DType::iq4_nl:
      return kernels::dequantize_iq4_nl;
    case DType::iq4_xs:
      return kernels::dequantize_iq4_xs;
    default:
      return nullptr;
  }
}

}  // namespace

bool can_dequantize(DType dtype) { return kernel_of(dtype) != nullptr; }

void dequantize(DType dtype, const std::byte* from, float* to, int64_t n) {
  const kernels::DequantizeKernel kernel = kernel_of(dtype);
  check(kernel != nullptr, ErrorCode::unsupported, "weights of type {} cannot be read as float", to_string(dtype));
  const int64_t block = dtype_info(dtype).block_size;
  check(n >= 0 && n % block == 0, ErrorCode::invalid_argument,
        "{} elements are no whole number of {}-element {} blocks", n, block, to_string(dtype));
  kernel(from, to, n);
}

}  // namespace caravan::ops
