#include "caravan/train/optimizer.h"

#include <torch/torch.h>

#include "caravan/base/error.h"
#include "caravan/base/nearest.h"

namespace caravan::train {

void Optimizer::step(double schedule_factor) {
  const torch::NoGradGuard no_grad;
  ++steps_;
  update(schedule_factor);
}

std::vector<std::string> optimizer_names() {
  return {
#define OPTIMIZER(name) #name,
#include "caravan/train/optimizers.inc"
#undef OPTIMIZER
  };
}

std::unique_ptr<Optimizer> make_optimizer(const std::string& name, ParameterStore& store,
                                          const OptimizerOptions& options) {
#define OPTIMIZER(known) \
  if (name == #known) return make_##known(store, options);
#include "caravan/train/optimizers.inc"
#undef OPTIMIZER
  std::string known;
  for (const std::string& other : optimizer_names()) known += (known.empty() ? "" : ", ") + other;
  fail(ErrorCode::invalid_argument, "the optimizer '{}' is not known{}; known are {}", name,
       did_you_mean(name, optimizer_names()), known);
}

}  // namespace caravan::train
