// Layer normalization (Ba et al. 2016): y = w * (x - mean(x)) / sqrt(var(x) + eps) + b.
#pragma once

#include "caravan/nn/module.h"

namespace caravan::nn {

class LayerNorm final : public Layer<LayerNorm> {
 public:
  LayerNorm(int64_t width, double eps);
  Tensor forward(const Tensor& x);  // [..., C]
  void reset_parameters(const InitOptions& options) override;
  std::string_view kind() const override { return "LayerNorm"; }

  Parameter weight, bias;  // [C]

 private:
  double eps_;
};

}  // namespace caravan::nn
