// Gated feed-forward layer (Shazeer 2020): down(act(gate(x)) * up(x)); SwiGLU where act is SiLU.
#pragma once

#include <string>

#include "caravan/nn/linear.h"
#include "caravan/ops/activation.h"

namespace caravan::nn {

class GatedMlp final : public Layer<GatedMlp> {
 public:
  GatedMlp(int64_t hidden_size, int64_t intermediate_size, ops::Activation activation, bool bias = false);
  Tensor forward(const Tensor& x);  // [..., C]
  std::string_view kind() const override { return "GatedMlp"; }
  ops::Activation activation() const { return activation_; }

  Linear gate_proj, up_proj, down_proj;

 private:
  ops::Activation activation_;
};

}  // namespace caravan::nn
