// Adafactor (Shazeer & Stern 2018) as transformers.optimization.Adafactor: a matrix keeps a row and a column of second
// moments instead of one a weight; the update is clipped by its root mean square, and scaled by the weight's.
//   V^ = (R / mean(R)) x C    u = g / sqrt(V^)    u = u / max(1, rms(u) / clip)    w = w - lr max(eps, rms(w)) u
#include <torch/torch.h>

#include <cmath>

#include "caravan/base/error.h"
#include "caravan/train/optimizer.h"

namespace caravan::train {
namespace {

constexpr double kGradientEps = 1e-30;

Tensor rms(const Tensor& t) { return t.norm(2) / std::sqrt(static_cast<double>(t.numel())); }

class Adafactor final : public Optimizer {
 public:
  Adafactor(ParameterStore& store, const OptimizerOptions& options) : store_(store), options_(options) {
    for (const ParameterSlot* own : store.own_slots()) {
      const ParameterSlot& slot = *own;
      Moments m;
      const auto sizes = slot.value.sizes();
      if (sizes.size() >= 2) {
        std::vector<int64_t> column(sizes.begin(), sizes.end() - 2);
        column.push_back(sizes.back());
        m.row = at::zeros(sizes.slice(0, sizes.size() - 1), slot.value.options());
        m.column = at::zeros(column, slot.value.options());
      } else {
        m.full = at::zeros_like(slot.value);
      }
      if (options.first_moment > 0) m.first = at::zeros_like(slot.value);
      moments_.push_back(m);
    }
  }

  std::vector<std::pair<std::string, Tensor>> state() override {
    std::vector<std::pair<std::string, Tensor>> named;
    for (size_t i = 0; i < moments_.size(); ++i) {
      const std::string& name = store_.own_slots()[i]->name;
      if (moments_[i].row.defined()) named.emplace_back(name + ".exp_avg_sq_row", moments_[i].row);
      if (moments_[i].column.defined()) named.emplace_back(name + ".exp_avg_sq_col", moments_[i].column);
      if (moments_[i].full.defined()) named.emplace_back(name + ".exp_avg_sq", moments_[i].full);
      if (moments_[i].first.defined()) named.emplace_back(name + ".exp_avg", moments_[i].first);
    }
    return named;
  }

 private:
  struct Moments {
    Tensor row, column, full, first;
  };

  void update(double factor) override {
    for (size_t i = 0; i < moments_.size(); ++i) update_one(*store_.own_slots()[i], moments_[i], factor);
  }

  double step_size(const Tensor& w, double factor) const {
    double lr = options_.lr * factor;
    if (options_.relative_step) {
      const double first = options_.warmup_init ? 1e-6 * static_cast<double>(steps_) : 1e-2;
      lr = factor * std::min(first, 1.0 / std::sqrt(static_cast<double>(steps_)));
    }
    return options_.scale_parameter ? lr * std::max(options_.eps_scale, rms(w).item<double>()) : lr;
  }

  void update_one(ParameterSlot& slot, Moments& m, double factor) {
    Tensor& w = slot.value;
    const Tensor& g = slot.gradient;
    const double lr = step_size(w, factor);
    const double beta2 = 1.0 - std::pow(static_cast<double>(steps_), options_.decay_rate);
    Tensor u = g.pow(2).add_(kGradientEps);
    if (m.row.defined()) {
      m.row.mul_(beta2).add_(u.mean(-1), 1.0 - beta2);
      m.column.mul_(beta2).add_(u.mean(-2), 1.0 - beta2);
      const Tensor r = (m.row / m.row.mean(-1, /*keepdim=*/true)).rsqrt_().unsqueeze(-1);
      u = at::mul(r, m.column.unsqueeze(-2).rsqrt()).mul_(g);
    } else {
      m.full.mul_(beta2).add_(u, 1.0 - beta2);
      u = m.full.rsqrt().mul_(g);
    }
    u.div_((rms(u) / options_.clip_threshold).clamp_min_(1.0)).mul_(lr);
    if (m.first.defined()) u = m.first.mul_(options_.first_moment).add_(u, 1.0 - options_.first_moment);
    if (slot.decays && options_.weight_decay != 0) w.add_(w, -options_.weight_decay * lr);
    w.sub_(u);
  }

  ParameterStore& store_;
  OptimizerOptions options_;
  std::vector<Moments> moments_;
};

}  // namespace

void check_adafactor(const OptimizerOptions& options) {
  check(!options.warmup_init || options.relative_step, ErrorCode::invalid_argument,
        "optimizer.warmup_init needs optimizer.relative_step");
}

std::unique_ptr<Optimizer> make_adafactor(ParameterStore& store, const OptimizerOptions& options) {
  return std::make_unique<Adafactor>(store, options);
}

}  // namespace caravan::train
