// Stochastic gradient descent as torch.optim.SGD: the weight decay is added to the gradient (L2), the momentum buffer
// starts as the first gradient, Nesterov looks one step ahead:
//   d = g + decay w    b = mu b + d    w = w - lr (nesterov ? d + mu b : b)
// Left out: dampening, maximize.
#include <torch/torch.h>

#include "caravan/base/error.h"
#include "caravan/train/optimizer.h"

namespace caravan::train {
namespace {

class Sgd final : public Optimizer {
 public:
  Sgd(ParameterStore& store, const OptimizerOptions& options) : store_(store), options_(options) {
    if (options.momentum <= 0 || store.own_spans().empty()) return;
    begin_ = store.own_spans().front().begin;
    buffer_ = at::zeros({store.own_spans().back().end - begin_}, store.values().options());
  }

  std::vector<std::pair<std::string, Tensor>> state() override {
    std::vector<std::pair<std::string, Tensor>> named;
    if (!buffer_.defined()) return named;
    for (const ParameterSlot* slot : store_.own_slots()) {
      const int64_t begin = slot->offset - begin_;
      named.emplace_back(slot->name + ".momentum_buffer",
                         buffer_.slice(0, begin, begin + slot->size).view(slot->value.sizes()));
    }
    return named;
  }

 private:
  void update(double factor) override {
    const double lr = options_.lr * factor, mu = options_.momentum;
    for (const ParameterSpan& span : store_.own_spans()) {
      Tensor w = store_.values().slice(0, span.begin, span.end), g = store_.gradients().slice(0, span.begin, span.end);
      Tensor d = span.decays && options_.weight_decay != 0 ? g.add(w, options_.weight_decay) : g;
      if (mu > 0) {
        Tensor b = buffer_.slice(0, span.begin - begin_, span.end - begin_);
        b.mul_(mu).add_(d);
        d = options_.nesterov ? d.add(b, mu) : b;
      }
      w.add_(d, -lr);
    }
  }

  ParameterStore& store_;
  OptimizerOptions options_;
  int64_t begin_ = 0;  // of the first span
  Tensor buffer_;
};

}  // namespace

void check_sgd(const OptimizerOptions& options) {
  check(!options.nesterov || options.momentum > 0, ErrorCode::invalid_argument,
        "optimizer.nesterov needs optimizer.momentum above 0");
}

std::unique_ptr<Optimizer> make_sgd(ParameterStore& store, const OptimizerOptions& options) {
  return std::make_unique<Sgd>(store, options);
}

}  // namespace caravan::train
