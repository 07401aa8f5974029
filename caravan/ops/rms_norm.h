// y = w * x / sqrt(mean(x^2) + eps) over the last axis; statistics in fp32, the product in the dtype of x.
#pragma once

#include <ATen/core/Tensor.h>

namespace caravan::ops {

using at::Tensor;

// x [..., C], weight [C]. Differentiable in both.
Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps);

namespace reference {
Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps);
}

}  // namespace caravan::ops
