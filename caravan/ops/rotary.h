// Rotation of query and key heads: x * cos + rotate_half(x) * sin on the first R features, the rest unchanged.
#pragma once

#include <ATen/core/Tensor.h>

namespace caravan::ops {

using at::Tensor;

// x [T, H, D]; cos and sin [T, R], R <= D. Differentiable in x.
Tensor rotate(const Tensor& x, const Tensor& cos, const Tensor& sin);

namespace reference {
Tensor rotate(const Tensor& x, const Tensor& cos, const Tensor& sin);
}

}  // namespace caravan::ops
