// Shows what goes into the Linear layers of a running model: for statistics of activations (quant/calibration.h).
//
//   struct Counter final : nn::LinearInputs { void see(const nn::Linear& layer, const Tensor& x) override { ... } };
//   Counter counter;
//   { nn::ScopedLinearInputs watch(counter); model.hidden(ids, step); }
#pragma once

#include "caravan/nn/linear.h"

namespace caravan::nn {

class LinearInputs {
 public:
  virtual ~LinearInputs() = default;
  virtual void see(const Linear& layer, const Tensor& x) = 0;  // x [..., in], before the product
};

LinearInputs* set_linear_inputs(LinearInputs* next);  // returns the previous one

class ScopedLinearInputs {
 public:
  explicit ScopedLinearInputs(LinearInputs& inputs) : previous_(set_linear_inputs(&inputs)) {}
  ~ScopedLinearInputs() { set_linear_inputs(previous_); }
  ScopedLinearInputs(const ScopedLinearInputs&) = delete;
  ScopedLinearInputs& operator=(const ScopedLinearInputs&) = delete;

 private:
  LinearInputs* previous_;
};

}  // namespace caravan::nn
