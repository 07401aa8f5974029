#include "caravan/nn/linear.h"

#include <torch/torch.h>

namespace caravan::nn {

Linear::Linear(int64_t in_features, int64_t out_features, bool with_bias) {
  weight.shape = {out_features, in_features};
  add("weight", weight);
  if (!with_bias) return;
  bias.shape = {out_features};
  add("bias", bias);
}

Tensor Linear::forward(const Tensor& x) { return ops::linear(x, view(weight), bias.value); }

void Linear::reset_parameters(const InitOptions& options) {
  Module::reset_parameters(options);
  weight.value.normal_(0.0, options.std, options.generator);
}

Embedding::Embedding(int64_t rows, int64_t width, int64_t padding_index) : padding_index_(padding_index) {
  weight.shape = {rows, width};
  add("weight", weight);
}

Tensor Embedding::forward(const Tensor& ids) { return ops::embedding(ids, view(weight), padding_index_); }

void Embedding::reset_parameters(const InitOptions& options) {
  Module::reset_parameters(options);
  weight.value.normal_(0.0, options.std, options.generator);
  if (padding_index_ >= 0) weight.value[padding_index_].zero_();
}

}  // namespace caravan::nn
