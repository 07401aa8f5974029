#include "caravan/nn/mlp.h"

namespace caravan::nn {

GatedMlp::GatedMlp(int64_t hidden_size, int64_t intermediate_size, ops::Activation activation, bool bias)
    : gate_proj(hidden_size, intermediate_size, bias),
      up_proj(hidden_size, intermediate_size, bias),
      down_proj(intermediate_size, hidden_size, bias),
      activation_(activation) {
  add("gate_proj", gate_proj);
  add("up_proj", up_proj);
  add("down_proj", down_proj);
}

Tensor GatedMlp::forward(const Tensor& x) {
  const auto [gate, up] = project(x, std::array{&gate_proj, &up_proj});
  return down_proj(ops::gated(gate, up, activation_));
}

}  // namespace caravan::nn
