#include "caravan/ops/cross_entropy.h"

#include <torch/torch.h>

#include "caravan/base/error.h"

namespace caravan::ops {

Tensor cross_entropy(const Tensor& logits, const Tensor& targets, std::optional<double> count, int64_t ignore_index) {
  check(logits.dim() == 2 && targets.dim() == 1 && logits.size(0) == targets.size(0), ErrorCode::invalid_argument,
        "cross_entropy: logits [T, V] and targets [T] are expected");
  const auto in_range =
      at::logical_or(targets.eq(ignore_index), at::logical_and(targets.ge(0), targets.lt(logits.size(1))));
  check(in_range.all().item<bool>(), ErrorCode::invalid_argument, "cross_entropy: labels must lie in [0, {}) or be {}",
        logits.size(1), ignore_index);
  const auto reduction = count ? at::Reduction::Sum : at::Reduction::Mean;
  const Tensor loss = at::cross_entropy_loss(logits.to(at::kFloat), targets, /*weight=*/{}, reduction, ignore_index);
  return count ? loss / *count : loss;
}

}  // namespace caravan::ops
