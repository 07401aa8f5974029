// Products of fp32 matrices whose values are new each time, as in training: forward, the input's and the weight's
// gradient. On the CPU by kernels/panel_gemm.h where that is faster than libtorch's GEMM, which is elsewhere.
//
// MKL leaves half of a core unused that has AVX-512 and is not Intel's (one core of Zen 5, billions of multiply-adds a
// second at 2560 x 256 x 688: 50, these 113 to 126). On Intel's own it stays.
#pragma once

#include <ATen/core/Tensor.h>

namespace caravan::ops {

using at::Tensor;

// Whether the products below run our kernels on this machine. For tests: force_own_gemm(true) makes them, everywhere.
bool has_own_gemm();
void force_own_gemm(bool on);

// y = x W^T + b like at::linear, differentiable once: x [..., K], weight [N, K], bias [N] or undefined.
Tensor dense_linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});

// For those who write their own backward pass. All are 2-dimensional; not differentiable.
Tensor product_nt(const Tensor& a, const Tensor& b);                // a [M, K] b [N, K]^T -> [M, N]
void product_nn_into(Tensor& c, const Tensor& a, const Tensor& b);  // c [M, N] = a [M, K] b [K, N]
void add_product_nn(Tensor& c, const Tensor& a, const Tensor& b);   // c [M, N] += a [M, K] b [K, N]
void add_product_tn(Tensor& c, const Tensor& a, const Tensor& b);   // c [M, N] += a [K, M]^T b [K, N]

}  // namespace caravan::ops
