#include "caravan/nn/layer_norm.h"

#include <torch/torch.h>

namespace caravan::nn {

LayerNorm::LayerNorm(int64_t width, double eps) : eps_(eps) {
  weight.shape = bias.shape = {width};
  add("weight", weight);
  add("bias", bias);
}

Tensor LayerNorm::forward(const Tensor& x) { return at::layer_norm(x, weight.shape, weight.value, bias.value, eps_); }

void LayerNorm::reset_parameters(const InitOptions& options) {
  Module::reset_parameters(options);
  weight.value.fill_(1.0);
  bias.value.zero_();
}

}  // namespace caravan::nn
