// Sampling: a token drawn from softmax(processed scores) by inverse CDF. Every sequence has its own random stream
// (seed, index), so its tokens are the same alone and in any batch.
#include <torch/torch.h>

#include "caravan/generate/token_loop.h"

namespace caravan::generate {
namespace {

class SamplingChooser final : public Chooser {
 public:
  void see(const Tensor& scores) override { probabilities_ = at::softmax(scores, -1); }
  int32_t choose(int64_t row, Random& random) override {
    const int64_t width = probabilities_.size(1);
    return draw({probabilities_.const_data_ptr<float>() + row * width, static_cast<size_t>(width)}, random);
  }

 private:
  Tensor probabilities_;  // [R, V]
};

}  // namespace

std::unique_ptr<Strategy> make_sampling(Task& task) {
  return make_token_loop(task, std::make_unique<SamplingChooser>());
}

}  // namespace caravan::generate
