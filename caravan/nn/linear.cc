#include "caravan/nn/linear.h"

#include <torch/torch.h>

#include "caravan/nn/linear_inputs.h"
#include "caravan/ops/linear.h"

namespace caravan::nn {
namespace {

thread_local LinearInputs* watching_inputs = nullptr;

}  // namespace

LinearInputs* linear_inputs() { return watching_inputs; }

LinearInputs* set_linear_inputs(LinearInputs* next) { return std::exchange(watching_inputs, next); }

Linear::Linear(int64_t in_features, int64_t out_features, bool with_bias) {
  weight.shape = {out_features, in_features};
  add("weight", weight);
  if (!with_bias) return;
  bias.shape = {out_features};
  add("bias", bias);
}

Tensor Linear::forward(const Tensor& x) {
  if (watching_inputs != nullptr) [[unlikely]]
    watching_inputs->see(*this, x);
  return ops::linear(
      x, {.value = weight.value, .dtype = weight.dtype, .rows = weight.shape[0], .columns = weight.shape[1]},
      bias.value);
}

void Linear::reset_parameters(const InitOptions& options) {
  Module::reset_parameters(options);
  weight.value.normal_(0.0, options.std, options.generator);
}

Embedding::Embedding(int64_t rows, int64_t width, int64_t padding_index) : padding_index_(padding_index) {
  weight.shape = {rows, width};
  add("weight", weight);
}

Tensor Embedding::forward(const Tensor& ids) {
  return ops::embedding(
      ids, {.value = weight.value, .dtype = weight.dtype, .rows = weight.shape[0], .columns = weight.shape[1]},
      padding_index_);
}

void Embedding::reset_parameters(const InitOptions& options) {
  Module::reset_parameters(options);
  weight.value.normal_(0.0, options.std, options.generator);
  if (padding_index_ >= 0) weight.value[padding_index_].zero_();
}

}  // namespace caravan::nn
