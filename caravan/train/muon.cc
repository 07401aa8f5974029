// Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers") as torch.optim.Muon: the momentum of a hidden
// matrix, orthogonalized by a quintic Newton-Schulz iteration in bf16, is its update. Embeddings, heads, norms and
// biases take AdamW, as the paper does.
//   b = mu b + (1 - mu) g    u = NS((1 - mu) g + mu b)    w = (1 - lr decay) w - lr s(shape) u
#include <torch/torch.h>

#include <cmath>

#include "caravan/base/error.h"
#include "caravan/train/adamw.h"
#include "caravan/train/optimizer.h"

namespace caravan::train {
namespace {

constexpr double kA = 3.4445, kB = -4.7750, kC = 2.0315;  // the iteration's coefficients
constexpr double kEps = 1e-7;

// About U V^T of g = U S V^T: singular values end between 0.5 and 1.5.
Tensor orthogonalize(const Tensor& g, int64_t steps) {
  const bool tall = g.size(0) > g.size(1);
  Tensor x = g.to(at::kBFloat16);
  if (tall) x = x.t();
  x.div_(x.norm().clamp_min(kEps));
  for (int64_t i = 0; i < steps; ++i) {
    const Tensor gram = x.matmul(x.t());
    const Tensor polynomial = at::addmm(gram, gram, gram, kB, kC);
    x = at::addmm(x, polynomial, x, kA);
  }
  return tall ? x.t() : x;
}

std::vector<ParameterSpan> other_spans(const ParameterStore& store) {
  std::vector<ParameterSpan> spans;
  for (const ParameterSpan& span : store.own_spans()) {
    if (!span.matrix) spans.push_back(span);
  }
  return spans;
}

class Muon final : public Optimizer {
 public:
  Muon(ParameterStore& store, const OptimizerOptions& options)
      : store_(store), options_(options), others_(store, other_spans(store), options) {
    if (options_.momentum == 0) options_.momentum = 0.95;
    if (options_.adamw_lr == 0) options_.adamw_lr = options_.lr;
    for (const ParameterSlot* slot : store.own_slots()) {
      if (slot->role == Role::matrix) momentum_.push_back(at::zeros_like(slot->value));
    }
  }

  std::vector<std::pair<std::string, Tensor>> state() override {
    auto named = others_.state();
    size_t i = 0;
    for (const ParameterSlot* slot : store_.own_slots()) {
      if (slot->role == Role::matrix) named.emplace_back(slot->name + ".momentum_buffer", momentum_[i++]);
    }
    return named;
  }

 private:
  void update(double factor) override {
    others_.update(options_.adamw_lr * factor, steps_);
    size_t i = 0;
    for (ParameterSlot* slot : store_.own_slots()) {
      if (slot->role == Role::matrix) update_one(*slot, momentum_[i++], options_.lr * factor);
    }
  }

  void update_one(ParameterSlot& slot, Tensor& momentum, double lr) {
    const double rest = 1.0 - options_.momentum;
    momentum.lerp_(slot.gradient, rest);
    const Tensor u = orthogonalize(slot.gradient.lerp(momentum, options_.momentum), options_.newton_schulz_steps);
    const auto rows = static_cast<double>(u.size(0)), columns = static_cast<double>(u.size(1));
    const double scale = options_.adjust_lr == "original" ? std::sqrt(std::max(1.0, rows / columns))
                                                          : 0.2 * std::sqrt(std::max(rows, columns));
    if (slot.decays) slot.value.mul_(1.0 - lr * options_.weight_decay);
    slot.value.add_(u, -lr * scale);
  }

  ParameterStore& store_;
  OptimizerOptions options_;
  AdamwSpans others_;
  std::vector<Tensor> momentum_;  // of the matrices, in the order of the slots
};

}  // namespace

void check_muon(const OptimizerOptions& options) {
  check(options.adjust_lr == "original" || options.adjust_lr == "match_rms_adamw", ErrorCode::invalid_argument,
        "optimizer.adjust_lr is 'original' or 'match_rms_adamw', got '{}'", options.adjust_lr);
  check(options.newton_schulz_steps > 0 && options.newton_schulz_steps < 100, ErrorCode::invalid_argument,
        "optimizer.newton_schulz_steps lies between 1 and 99, got {}", options.newton_schulz_steps);
  check_adamw(options);  // of all but the matrices
}

std::unique_ptr<Optimizer> make_muon(ParameterStore& store, const OptimizerOptions& options) {
  return std::make_unique<Muon>(store, options);
}

}  // namespace caravan::train
