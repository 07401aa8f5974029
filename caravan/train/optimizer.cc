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

namespace {

[[noreturn]] void fail_unknown(const std::string& name) {
  std::string known;
  for (const std::string& other : optimizer_names()) known += (known.empty() ? "" : ", ") + other;
  fail(ErrorCode::invalid_argument, "the optimizer '{}' is not known{}; known are {}", name,
       did_you_mean(name, optimizer_names()), known);
}

}  // namespace

void check_optimizer(const std::string& name, const OptimizerOptions& options) {
#define OPTIMIZER(known) \
  if (name == #known) return check_##known(options);
#include "caravan/train/optimizers.inc"
#undef OPTIMIZER
  fail_unknown(name);
}

std::unique_ptr<Optimizer> make_optimizer(const std::string& name, ParameterStore& store,
                                          const OptimizerOptions& options) {
  check_optimizer(name, options);
#define OPTIMIZER(known) \
  if (name == #known) return make_##known(store, options);
#include "caravan/train/optimizers.inc"
#undef OPTIMIZER
  fail_unknown(name);
}

}  // namespace caravan::train
