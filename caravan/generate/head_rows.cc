#include "caravan/generate/head_rows.h"

#include <torch/torch.h>

#include "caravan/base/error.h"
#include "caravan/ops/linear.h"

namespace caravan::generate {
namespace {

const nn::Parameter& head_weight(models::CausalLm& model) {
  if (!model.tied()) {
    for (const nn::NamedParameter& p : model.named_parameters()) {
      if (p.name == "lm_head.weight") return *p.parameter;
    }
  }
  return model.backbone().input_embedding().weight;
}

}  // namespace

at::ScalarType activation_dtype(models::CausalLm& model) {
  const nn::Parameter& weight = model.backbone().input_embedding().weight;
  check(weight.defined(), ErrorCode::invalid_argument, "the model has no weights: load a checkpoint first");
  return ops::runs_in_fp32(weight.dtype, weight.packed) ? at::kFloat : weight.value.scalar_type();
}

void check_token(models::CausalLm& model, int64_t token) {
  const int64_t vocabulary = head_weight(model).shape[0];
  check(token < vocabulary, ErrorCode::invalid_argument,
        "the items' token {} is outside the model's vocabulary of {}: they belong to another model", token, vocabulary);
}

void check_scores_are_numbers(bool they_are) {
  check(they_are, ErrorCode::invalid_argument,
        "no item can be chosen: the model gave scores that are no numbers (broken weights, or a dtype too narrow for "
        "them)");
}

HeadRows::HeadRows(models::CausalLm& model, const Tensor& ids) {
  check_token(model, ids.max().item<int64_t>());
  const nn::Parameter& weight = head_weight(model);
  weight_ = ops::embedding(ids.to(weight.value.device()), nn::view(weight)).detach();
  panels_ =
      ops::pack_panels({.value = weight_, .dtype = DType::f32, .rows = weight_.size(0), .columns = weight_.size(1)});
}

Tensor HeadRows::logits(const Tensor& hidden) const {
  return panels_.defined() ? ops::panel_linear(hidden, panels_) : at::linear(hidden, weight_);
}

}  // namespace caravan::generate
