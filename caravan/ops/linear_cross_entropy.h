// The head and its loss in one: the logits of a chunk of rows exist only while their loss and gradient are computed.
#pragma once

#include <ATen/core/Tensor.h>

#include "caravan/ops/cross_entropy.h"

namespace caravan::ops {

using at::Tensor;

// Sum over rows of the cross entropy of softmax(hidden weight^T) against targets, an fp32 scalar.
// hidden [R, C], weight [V, C] (dense), targets int64 [R] in [0, V). With smoothing s the target distribution is
// (1 - s) one-hot + s / V, as torch.nn.CrossEntropyLoss(label_smoothing=s). Differentiable in hidden and weight.
Tensor linear_cross_entropy(const Tensor& hidden, const Tensor& weight, const Tensor& targets, double smoothing = 0.0);

namespace reference {
Tensor linear_cross_entropy(const Tensor& hidden, const Tensor& weight, const Tensor& targets, double smoothing = 0.0);
}

}  // namespace caravan::ops
