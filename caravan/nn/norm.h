// Root mean square layer normalization (Zhang & Sennrich 2019): y = w * x / sqrt(mean(x^2) + eps).
#pragma once

#include "caravan/nn/module.h"

namespace caravan::nn {

class RmsNorm final : public Layer<RmsNorm> {
 public:
  RmsNorm(int64_t width, double eps);
  Tensor forward(const Tensor& x);  // [..., C]
  void reset_parameters(const InitOptions& options) override;
  std::string_view kind() const override { return "RmsNorm"; }
  double eps() const { return eps_; }

  Parameter weight;  // [C]

 private:
  double eps_;
};

}  // namespace caravan::nn
