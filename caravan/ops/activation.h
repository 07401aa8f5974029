// Activation functions by their config.json names, and the fused gate act(gate) * up.
#pragma once

#include <ATen/core/Tensor.h>

#include <string_view>

namespace caravan::ops {

using at::Tensor;

// transformers' ACT2FN without the two that have parameters (prelu, xielu).
enum class Activation {
  silu,
  gelu,
  gelu_tanh,
  gelu_clipped,  // to [-10, 10]
  quick_gelu,
  relu,
  relu6,
  relu_squared,
  leaky_relu,
  sigmoid,
  tanh,
  mish,
  hardswish,
  laplace,  // the error function of MEGA (Ma et al. 2022), equation 16
  sqrt_softplus,
  identity,
};

Activation find_activation(std::string_view name, std::string_view where);  // unsupported for an unknown name
Tensor activate(const Tensor& x, Activation activation);

// act(gate) * up, element by element.
Tensor gated(const Tensor& gate, const Tensor& up, Activation activation);

namespace reference {
Tensor gated(const Tensor& gate, const Tensor& up, Activation activation);
}

}  // namespace caravan::ops
