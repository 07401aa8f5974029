// Optimizers over a ParameterStore. Each one follows a reference implementation to rounding (optimizer_test.cc):
//
//   adamw      torch.optim.AdamW            Loshchilov & Hutter 2019, decoupled weight decay
//   sgd        torch.optim.SGD              momentum, Nesterov; the decay is part of the gradient, as there
//   adafactor  transformers.Adafactor       Shazeer & Stern 2018, factored second moments
//   muon       torch.optim.Muon             Jordan et al. 2024, for hidden matrices; AdamW for everything else
//
//   auto optimizer = make_optimizer("adamw", store, {.lr = 1e-3});
//   optimizer->step(1.0);                       // 1.0: what the schedule makes of the learning rate
//
// Adding one touches its file and one line of optimizers.inc.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "caravan/train/parameters.h"

namespace caravan::train {

struct OptimizerOptions {
  double lr = 1e-3;  // the peak
  double weight_decay = 0.01;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;  // adamw, and muon's adamw
  double momentum = 0.0;                          // sgd; muon (there 0.95 where this is 0)
  bool nesterov = false;                          // sgd
  // muon
  int64_t newton_schulz_steps = 5;
  std::string adjust_lr = "original";  // or "match_rms_adamw": the step has AdamW's usual size, so its lr fits
  double adamw_lr = 0;                 // of embeddings, head, norms and biases; 0: lr
  // adafactor
  double clip_threshold = 1.0, decay_rate = -0.8, eps_scale = 1e-3;
  double first_moment = 0.0;  // beta1; 0: none is kept
  bool scale_parameter = true, relative_step = false, warmup_init = false;
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  void step(double schedule_factor);  // uses the store's gradients
  int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }
  // What it remembers, as views by name: to be written to a checkpoint and copied into.
  virtual std::vector<std::pair<std::string, Tensor>> state() = 0;

 protected:
  virtual void update(double schedule_factor) = 0;
  int64_t steps_ = 0;  // updates done, the one in progress included
};

std::unique_ptr<Optimizer> make_optimizer(const std::string& name, ParameterStore& store,
                                          const OptimizerOptions& options);
void check_optimizer(const std::string& name, const OptimizerOptions& options);  // invalid_argument
std::vector<std::string> optimizer_names();

#define OPTIMIZER(name)                                                             \
  std::unique_ptr<Optimizer> make_##name(ParameterStore&, const OptimizerOptions&); \
  void check_##name(const OptimizerOptions&);
#include "caravan/train/optimizers.inc"
#undef OPTIMIZER

}  // namespace caravan::train
