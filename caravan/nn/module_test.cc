// What happens to parameters as a whole.
#include "caravan/nn/module.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "caravan/nn/linear.h"

namespace caravan::nn {
namespace {

// Random numbers that run from bf16, as a file's do.
void store_in_bf16(Linear& linear) {
  initialize(linear, {.std = 0.2, .seed = 1});
  linear.weight.value = linear.weight.packed = linear.weight.value.to(at::kBFloat16);
  linear.weight.dtype = DType::bf16;
}

TEST(Module, AnotherTypeLeavesNothingOfTheStoredForm) {
  const torch::NoGradGuard no_grad;
  Linear linear(32, 16, /*with_bias=*/false);
  store_in_bf16(linear);
  linear.to(at::kFloat);
  EXPECT_FALSE(linear.weight.packed.defined());
  EXPECT_EQ(linear.weight.dtype, DType::f32);
  linear.weight.value.zero_();
  EXPECT_EQ(linear(at::ones({3, 32})).abs().max().item<float>(), 0);
}

TEST(Module, InitialNumbersTakeTheStoredFormsPlace) {
  const torch::NoGradGuard no_grad;
  Linear linear(32, 16, /*with_bias=*/false);
  store_in_bf16(linear);
  initialize(linear, {.std = 0.2, .seed = 2});
  EXPECT_FALSE(linear.weight.packed.defined());
  const at::Tensor x = at::ones({3, 32});
  EXPECT_TRUE(at::allclose(linear(x), at::linear(x, linear.weight.value), 1e-5, 1e-6));
}

}  // namespace
}  // namespace caravan::nn
