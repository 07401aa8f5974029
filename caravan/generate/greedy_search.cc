// Greedy search: the most probable token each step, argmax p(x | text). The first of equals, as torch.argmax has it.
#include <torch/torch.h>

#include "caravan/generate/token_loop.h"
#include "caravan/kernels/table.h"

namespace caravan::generate {
namespace {

class GreedyChooser final : public Chooser {
 public:
  void see(const Tensor& scores) override { scores_ = scores; }
  int32_t choose(int64_t row, Random&) override {
    const float* scores = scores_.const_data_ptr<float>() + row * scores_.size(1);
    const int64_t best = kernels::table().argmax(scores, scores_.size(1));
    check_best_score(scores[best]);
    return static_cast<int32_t>(best);
  }

 private:
  Tensor scores_;  // [R, V]
};

}  // namespace

std::unique_ptr<Strategy> make_greedy_search(Task& task) {
  return make_token_loop(task, std::make_unique<GreedyChooser>());
}

}  // namespace caravan::generate
