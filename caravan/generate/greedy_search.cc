// Greedy search: the most probable token each step, argmax p(x | text). The first of equals, as torch.argmax has it.
#include <torch/torch.h>

#include "caravan/generate/token_loop.h"

namespace caravan::generate {
namespace {

class GreedyChooser final : public Chooser {
 public:
  void see(const Tensor& scores) override { std::tie(scores_, best_) = scores.max(-1); }
  int32_t choose(int64_t row, Random&) override {
    check_best_score(scores_.const_data_ptr<float>()[row]);
    return static_cast<int32_t>(best_.const_data_ptr<int64_t>()[row]);
  }

 private:
  Tensor scores_, best_;  // [R]
};

}  // namespace

std::unique_ptr<Strategy> make_greedy_search(Task& task) {
  return make_token_loop(task, std::make_unique<GreedyChooser>());
}

}  // namespace caravan::generate
