// Next-token prediction over packed sequences: the sum of -log p(target) over rows that have a target. Rows without one
// never reach the head.
#include <torch/torch.h>

#include "caravan/base/error.h"
#include "caravan/ops/linear_cross_entropy.h"
#include "caravan/train/objective.h"

namespace caravan::train {
namespace {

models::CausalLm& causal_lm(models::Head& model) {
  auto* lm = dynamic_cast<models::CausalLm*>(&model);
  check(lm != nullptr, ErrorCode::invalid_argument,
        "the objective next_token needs a causal language model, this is {}", model.kind());
  return *lm;
}

struct TargetRows {
  Tensor hidden, targets;  // [R, C], [R]
};

TargetRows target_rows(models::CausalLm& model, const Batch& batch) {
  const at::Device device = model.backbone().input_embedding().weight.value.device();
  nn::Step step = step_of(batch, device);
  const Tensor hidden = model.hidden(batch.ids.to(device), step);  // [T, C]
  const Tensor rows = batch.targets.ne(ops::kIgnoreIndex).nonzero().squeeze(1);
  return {hidden.index_select(0, rows.to(device)), batch.targets.index_select(0, rows).to(device)};
}

Tensor loss(models::Head& head, const Batch& batch, const ObjectiveOptions& options) {
  models::CausalLm& model = causal_lm(head);
  const TargetRows rows = target_rows(model, batch);
  return ops::linear_cross_entropy(rows.hidden, model.output_weight(), rows.targets, options.label_smoothing);
}

void measure(models::Head& head, const Batch& batch, Measurement& sums) {
  models::CausalLm& model = causal_lm(head);
  const TargetRows rows = target_rows(model, batch);
  constexpr int64_t kRows = 512;  // logits of a chunk at a time
  for (int64_t at = 0; at < rows.targets.size(0); at += kRows) {
    const int64_t end = std::min(at + kRows, rows.targets.size(0));
    const Tensor logits = model.logits(rows.hidden.slice(0, at, end)).to(at::kFloat);
    const Tensor targets = rows.targets.slice(0, at, end);
    sums.loss += at::cross_entropy_loss(logits, targets, {}, at::Reduction::Sum).item<double>();
    sums.correct += logits.argmax(-1).eq(targets).sum().item<int64_t>();
  }
  sums.targets += batch.target_count;
}

}  // namespace

Objective objective_next_token() { return {.name = "next_token", .loss = loss, .measure = measure}; }

}  // namespace caravan::train
