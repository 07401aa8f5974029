#include "caravan/nn/linear.h"

#include <torch/torch.h>

#include "caravan/nn/linear_inputs.h"
#include "caravan/ops/threads.h"

namespace caravan::nn {
namespace {

thread_local LinearInputs* watching_inputs = nullptr;

int64_t version_of(const Tensor& t) { return t.is_inference() ? 0 : static_cast<int64_t>(t._version()); }

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

void Linear::make_panels() {
  panels_ = ops::pack_panels(view(weight));
  panels_of_ = weight.value;
  panels_version_ = weight.defined() ? version_of(weight.value) : 0;
}

bool Linear::panels_are_current() const {
  return panels_.defined() && weight.value.is_same(panels_of_) && version_of(weight.value) == panels_version_;
}

void make_panels(Module& module) {
  if (auto* linear = dynamic_cast<Linear*>(&module)) linear->make_panels();
  for (const auto& [name, child] : module.children()) make_panels(*child);
}

Tensor Linear::forward(const Tensor& x) {
  if (watching_inputs != nullptr) [[unlikely]]
    watching_inputs->see(*this, x);
  if (x.scalar_type() == at::kFloat && panels_are_current() && !ops::needs_gradient({x, weight.value, bias.value})) {
    Tensor y = ops::panel_linear(x, panels_);
    return bias.defined() ? y.add_(bias.value) : y;
  }
  return ops::linear(x, view(weight), bias.value);
}

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
