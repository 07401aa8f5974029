#include "caravan/ops/threads.h"

#include <torch/torch.h>

namespace caravan::ops {

bool needs_gradient(std::initializer_list<Tensor> tensors) {
  if (!at::GradMode::is_enabled()) return false;
  return std::any_of(tensors.begin(), tensors.end(), [](const Tensor& t) { return t.defined() && t.requires_grad(); });
}

}  // namespace caravan::ops
