// AdamW (Loshchilov & Hutter 2019), as torch.optim.AdamW(fused=True), one call for all weights that decay and one for
// all that do not:
//   m = b1 m + (1 - b1) g    v = b2 v + (1 - b2) g^2    w = (1 - lr decay) w - lr m^ / (sqrt(v^) + eps)
// Left out: amsgrad, maximize.
#include "caravan/train/adamw.h"

#include <torch/torch.h>

#include "caravan/base/error.h"

namespace caravan::train {

AdamwSpans::AdamwSpans(ParameterStore& store, std::vector<ParameterSpan> spans, const OptimizerOptions& options)
    : store_(store), spans_(std::move(spans)), options_(options) {
  if (spans_.empty()) return;
  begin_ = spans_.front().begin;
  end_ = spans_.back().end;
  exp_avg_ = at::zeros({end_ - begin_}, store.values().options());
  exp_avg_sq_ = at::zeros_like(exp_avg_);
}

void AdamwSpans::update(double lr, int64_t step) {
  const Tensor steps = at::full({}, static_cast<double>(step), at::TensorOptions().dtype(at::kFloat));
  for (const ParameterSpan& span : spans_) {
    const auto part = [&](const Tensor& flat, int64_t from) {
      return flat.slice(0, span.begin - from, span.end - from);
    };
    at::_fused_adamw_({part(store_.values(), 0)}, {part(store_.gradients(), 0)}, {part(exp_avg_, begin_)},
                      {part(exp_avg_sq_, begin_)}, {}, {steps.to(store_.values().device())}, lr, options_.beta1,
                      options_.beta2, span.decays ? options_.weight_decay : 0.0, options_.eps, /*amsgrad=*/false,
                      /*maximize=*/false);
  }
}

std::vector<std::pair<std::string, Tensor>> AdamwSpans::state() {
  std::vector<std::pair<std::string, Tensor>> named;
  for (const ParameterSlot* own : store_.own_slots()) {
    const ParameterSlot& slot = *own;
    if (slot.offset < begin_ || slot.offset >= end_) continue;
    const auto view = [&](const Tensor& flat) {
      return flat.slice(0, slot.offset - begin_, slot.offset - begin_ + slot.size).view(slot.value.sizes());
    };
    named.emplace_back(slot.name + ".exp_avg", view(exp_avg_));
    named.emplace_back(slot.name + ".exp_avg_sq", view(exp_avg_sq_));
  }
  return named;
}

namespace {

class Adamw final : public Optimizer {
 public:
  Adamw(ParameterStore& store, const OptimizerOptions& options)
      : spans_(store, store.own_spans(), options), lr_(options.lr) {}
  std::vector<std::pair<std::string, Tensor>> state() override { return spans_.state(); }

 private:
  void update(double factor) override { spans_.update(lr_ * factor, steps_); }
  AdamwSpans spans_;
  double lr_;
};

}  // namespace

void check_adamw(const OptimizerOptions& options) {
  for (const double beta : {options.beta1, options.beta2}) {
    check(beta >= 0 && beta < 1, ErrorCode::invalid_argument,
          "optimizer.beta1 and optimizer.beta2 lie in [0, 1), got {}", beta);
  }
}

std::unique_ptr<Optimizer> make_adamw(ParameterStore& store, const OptimizerOptions& options) {
  return std::make_unique<Adamw>(store, options);
}

}  // namespace caravan::train
