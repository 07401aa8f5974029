// Puts other values into the model for a while: the fp32 master weights to save them, an average to evaluate it.
//
//   { ScopedWeights scope(store, average, at::kBFloat16); metrics = evaluate(model); }
#pragma once

#include <vector>

#include "caravan/train/parameters.h"

namespace caravan::train {

class ScopedWeights {
 public:
  ScopedWeights(ParameterStore& store, const Tensor& flat, at::ScalarType dtype);  // flat: laid out like values()
  ~ScopedWeights();
  ScopedWeights(const ScopedWeights&) = delete;

 private:
  ParameterStore& store_;
  std::vector<Tensor> weights_;
  DType dtype_;
};

}  // namespace caravan::train
