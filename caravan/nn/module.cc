#include "caravan/nn/module.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/torch.h>

#include <set>

#include "caravan/base/error.h"
#include "caravan/ops/scalar_types.h"

namespace caravan::nn {
namespace {

thread_local Observer* current_observer = nullptr;

}  // namespace

Observer* observer() { return current_observer; }
Observer* set_observer(Observer* next) { return std::exchange(current_observer, next); }

void Module::add(std::string name, Module& child) {
  child.parent_ = this;
  child.name_ = name;
  children_.emplace_back(std::move(name), &child);
}

void Module::add(std::string name, Parameter& parameter) { parameters_.emplace_back(std::move(name), &parameter); }

void Module::collect(const std::string& prefix, std::vector<NamedParameter>& out) {
  for (auto& [name, parameter] : parameters_) out.push_back({prefix + name, parameter, this});
  for (auto& [name, child] : children_) child->collect(name.empty() ? prefix : prefix + name + ".", out);
}

std::vector<NamedParameter> Module::named_parameters() {
  std::vector<NamedParameter> all, unique;
  collect("", all);
  std::set<Parameter*> seen;
  for (NamedParameter& p : all) {
    if (seen.insert(p.parameter).second) unique.push_back(std::move(p));
  }
  return unique;
}

std::vector<Tensor> Module::parameters() {
  std::vector<Tensor> tensors;
  for (const NamedParameter& p : named_parameters()) {
    if (p.parameter->defined() && !is_block_quantized(p.parameter->dtype)) tensors.push_back(p.parameter->value);
  }
  return tensors;
}

std::string Module::path() const {
  if (parent_ == nullptr) return name_;
  const std::string above = parent_->path();
  return above.empty() ? name_ : above + "." + name_;
}

void Module::train(bool on) {
  training_ = on;
  for (auto& [name, child] : children_) child->train(on);
}

void Module::requires_grad(bool on) {
  for (Tensor& t : parameters()) t.requires_grad_(on);
}

void Module::to(at::ScalarType dtype) {
  for (const NamedParameter& p : named_parameters()) {
    Parameter& parameter = *p.parameter;
    if (!parameter.defined() || is_block_quantized(parameter.dtype) || !parameter.value.is_floating_point()) continue;
    if (parameter.value.scalar_type() == dtype) continue;
    const bool gradient = parameter.value.requires_grad();
    parameter.value = parameter.value.detach().to(dtype).requires_grad_(gradient);
    parameter.packed = Tensor();  // it holds the old numbers
    parameter.dtype = ops::to_dtype(dtype);
  }
}

void Module::to(at::Device device) {
  for (const NamedParameter& p : named_parameters()) {
    Parameter& parameter = *p.parameter;
    if (!parameter.defined()) continue;
    const bool gradient = parameter.value.requires_grad();
    parameter.value = parameter.value.detach().to(device).requires_grad_(gradient);
  }
}

void Module::reset_parameters(const InitOptions& options) {
  for (auto& [name, parameter] : parameters_) {
    parameter->value = at::zeros(parameter->shape, options.dtype);
    parameter->packed = Tensor();
    parameter->dtype = ops::to_dtype(options.dtype);
  }
}

void reset_all(Module& module, const InitOptions& options) {
  module.reset_parameters(options);
  for (auto& [name, child] : module.children_) reset_all(*child, options);
}

void initialize(Module& module, const InitOptions& options) {
  const torch::NoGradGuard no_grad;
  InitOptions with_generator = options;
  with_generator.generator = at::detail::createCPUGenerator(options.seed);
  reset_all(module, with_generator);
}

}  // namespace caravan::nn
