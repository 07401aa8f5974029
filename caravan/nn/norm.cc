#include "caravan/nn/norm.h"

#include <torch/torch.h>

#include "caravan/ops/rms_norm.h"

namespace caravan::nn {

RmsNorm::RmsNorm(int64_t width, double eps) : eps_(eps) {
  weight.shape = {width};
  add("weight", weight);
}

Tensor RmsNorm::forward(const Tensor& x) { return ops::rms_norm(x, weight, eps_); }

void RmsNorm::reset_parameters(const InitOptions& options) {
  Module::reset_parameters(options);
  weight.value.fill_(1.0);
}

}  // namespace caravan::nn
