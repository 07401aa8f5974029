// Activation functions by their config.json names, and the fused gate act(gate) * up.
#pragma once

#include <ATen/core/Tensor.h>

#include <string_view>

namespace caravan::ops {

using at::Tensor;

// Names of transformers' ACT2FN that language models use.
enum class Activation { silu, gelu, gelu_tanh, relu, relu_squared, quick_gelu, sigmoid, tanh, mish, identity };

Activation find_activation(std::string_view name, std::string_view where);  // unsupported for an unknown name
Tensor activate(const Tensor& x, Activation activation);

// act(gate) * up, element by element.
Tensor gated(const Tensor& gate, const Tensor& up, Activation activation);

namespace reference {
Tensor gated(const Tensor& gate, const Tensor& up, Activation activation);
}

}  // namespace caravan::ops
