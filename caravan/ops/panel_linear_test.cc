#include "caravan/ops/panel_linear.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace caravan::ops {
namespace {

TEST(PanelLinear, EqualsTheProductWhateverTheRowsAndThreads) {
  torch::manual_seed(4);
  const int before = at::get_num_threads();
  for (const int64_t n : {40, 256, 1000}) {
    const Tensor weight = at::randn({n, 256}), x = at::randn({700, 256});
    const Panels panels = pack_panels({.value = weight, .dtype = DType::f32, .rows = n, .columns = 256});
    ASSERT_TRUE(panels.defined());
    const Tensor expected = at::linear(x.to(at::kDouble), weight.to(at::kDouble)).to(at::kFloat);
    Tensor first;
    for (const int threads : {1, 2, 3}) {
      at::set_num_threads(threads);
      const Tensor y = panel_linear(x, panels);
      EXPECT_LT((y - expected).abs().max().item<double>(), 1e-4);
      if (!first.defined()) first = y;
      EXPECT_TRUE(at::equal(y, first));
      for (const int64_t rows : {1, 13, 100, 191, 192, 500})
        EXPECT_TRUE(at::equal(panel_linear(x.slice(0, 0, rows), panels), first.slice(0, 0, rows))) << rows;
    }
  }
  at::set_num_threads(before);
}

TEST(PanelLinear, OtherWeightsAreNotPacked) {
  const auto packed = [](const Tensor& w, DType dtype) {
    return pack_panels({.value = w, .dtype = dtype, .rows = 4, .columns = 4}).defined();
  };
  EXPECT_TRUE(packed(at::randn({4, 4}), DType::f32));
  EXPECT_FALSE(packed(at::randn({4, 4}).to(at::kBFloat16), DType::bf16));
  EXPECT_FALSE(packed(Tensor(), DType::f32));
}

}  // namespace
}  // namespace caravan::ops
