#include "caravan/models/multiplied.h"

namespace caravan::models {

bool is_multiplied(Head& model, const nn::Parameter& parameter) {
  const auto* causal = dynamic_cast<const CausalLm*>(&model);
  const bool tied = causal != nullptr && causal->tied();
  return tied || &parameter != &model.backbone().input_embedding().weight;
}

int64_t multiplied_bytes(Head& model) {
  int64_t bytes = 0;
  for (const nn::NamedParameter& p : model.named_parameters()) {
    if (is_multiplied(model, *p.parameter)) bytes += static_cast<int64_t>(p.parameter->value.nbytes());
  }
  return bytes;
}

}  // namespace caravan::models
