#include "caravan/train/weights_scope.h"

#include <torch/torch.h>

namespace caravan::train {

ScopedWeights::ScopedWeights(ParameterStore& store, const Tensor& flat, at::ScalarType dtype)
    : store_(store), dtype_(store.slots()[0].parameter->dtype) {
  const torch::NoGradGuard no_grad;
  const Tensor cast = flat.to(dtype);  // the same tensor where it has that dtype
  for (ParameterSlot& slot : store.slots()) {
    weights_.push_back(slot.parameter->value);
    slot.parameter->value = cast.slice(0, slot.offset, slot.offset + slot.size).view(slot.parameter->shape);
    slot.parameter->dtype = dtype == at::kBFloat16 ? DType::bf16 : DType::f32;
  }
}

ScopedWeights::~ScopedWeights() {
  for (size_t i = 0; i < weights_.size(); ++i) {
    store_.slots()[i].parameter->value = weights_[i];
    store_.slots()[i].parameter->dtype = dtype_;
  }
}

}  // namespace caravan::train
