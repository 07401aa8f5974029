// Some rows of a model's output weight, made ready for many products: those of the tokens of a level, or of the items.
#pragma once

#include <ATen/core/Tensor.h>

#include "caravan/models/heads.h"
#include "caravan/ops/panel_linear.h"

namespace caravan::generate {

using at::Tensor;

// The type that hidden states have. Throws where the model has no weights.
at::ScalarType activation_dtype(models::CausalLm& model);

// Throws where an item's token is none of the model's.
void check_token(models::CausalLm& model, int64_t token);

// Throws unless: scores that are NaNs have no order.
void check_scores_are_numbers(bool they_are);

class HeadRows {
 public:
  HeadRows() = default;
  // ids int64 [N]. A copy: new weights need a new one. Panels (ops/panel_linear.h) in fp32 on the CPU.
  HeadRows(models::CausalLm& model, const Tensor& ids);
  bool defined() const { return weight_.defined(); }
  Tensor logits(const Tensor& hidden) const;  // [R, C] -> [R, N]

 private:
  Tensor weight_;  // [N, C]
  ops::Panels panels_;
};

}  // namespace caravan::generate
