// Our fp32 products and their gradients beside libtorch's in double precision, and their promise: bits that do not
// depend on the number of threads.
#include "caravan/ops/gemm.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <array>

#include "caravan/base/error.h"

namespace caravan::ops {
namespace {

class Gemm : public testing::Test {
 protected:
  void SetUp() override {
    force_own_gemm(true);
    torch::manual_seed(3);
  }
  void TearDown() override {
    force_own_gemm(false);
    at::set_num_threads(threads_);
  }

 private:
  int threads_ = at::get_num_threads();
};

// Of the larger of the largest value and 5: sums of a few hundred products have about that size.
double largest_difference(const Tensor& got, const Tensor& want) {
  return (got.to(at::kDouble) - want).abs().max().item<double>() / std::max(5.0, want.abs().max().item<double>());
}

TEST_F(Gemm, ProductsOfEveryShape) {
  for (const int64_t m : {1, 23, 24, 100, 1300}) {
    for (const int64_t k : {1, 31, 600}) {
      for (const int64_t n : {1, 33, 300}) {
        const Tensor a = at::randn({m, k}), b = at::randn({n, k}), wide = a.to(at::kDouble);
        EXPECT_LT(largest_difference(product_nt(a, b), wide.mm(b.to(at::kDouble).t())), 2e-6) << m << k << n;
        const Tensor across = b.t().contiguous();
        Tensor c = at::full({m, n}, 7.0);
        product_nn_into(c, a, across);
        EXPECT_LT(largest_difference(c, wide.mm(across.to(at::kDouble))), 2e-6) << m << k << n;
        Tensor twice = c.clone();
        add_product_nn(twice, a, across);
        EXPECT_LT(largest_difference(twice, 2 * c.to(at::kDouble)), 2e-6) << m << k << n;
        const Tensor tall = at::randn({k, m}), other = at::randn({k, n});
        Tensor sum = at::ones({m, n});
        add_product_tn(sum, tall, other);
        EXPECT_LT(largest_difference(sum, tall.to(at::kDouble).t().mm(other.to(at::kDouble)) + 1), 2e-6) << m << k << n;
      }
    }
  }
}

TEST_F(Gemm, RowsOfLargerMatrices) {
  const Tensor whole = at::randn({200, 90}), a = whole.slice(1, 3, 63), b = at::randn({50, 60});
  EXPECT_LT(largest_difference(product_nt(a, b), a.to(at::kDouble).mm(b.to(at::kDouble).t())), 2e-6);
  Tensor into = at::zeros({200, 90}), part = into.slice(1, 10, 70);
  product_nn_into(part, at::randn({200, 50}), b);
  EXPECT_EQ(into.slice(1, 0, 10).abs().max().item<float>(), 0);
  EXPECT_EQ(into.slice(1, 70).abs().max().item<float>(), 0);
  EXPECT_GT(part.abs().max().item<float>(), 0);
}

TEST_F(Gemm, GradientsAreThoseOfLibtorch) {
  const auto gradients = [](bool own) {
    torch::manual_seed(5);
    force_own_gemm(own);
    const auto type = own ? at::kFloat : at::kDouble;
    Tensor x = at::randn({5, 40, 70}).to(type).requires_grad_(), w = at::randn({130, 70}).to(type).requires_grad_(),
           b = at::randn({130}).to(type).requires_grad_();
    const Tensor y = dense_linear(x, w, b);
    (y * at::randn({5, 40, 130}).to(type)).sum().backward();
    return std::array{y.detach(), x.grad(), w.grad(), b.grad()};
  };
  const auto got = gradients(true), want = gradients(false);
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].sizes(), want[i].sizes());
    EXPECT_LT(largest_difference(got[i], want[i]), 3e-6) << i;
  }
}

TEST_F(Gemm, OnlyWhatIsWantedIsComputed) {
  Tensor x = at::randn({60, 20}), w = at::randn({30, 20}).requires_grad_();
  dense_linear(x, w).sum().backward();
  EXPECT_FALSE(x.grad().defined());
  EXPECT_LT(largest_difference(w.grad(), x.sum(0).expand({30, 20}).to(at::kDouble)), 2e-6);
}

TEST_F(Gemm, AGradientOfTheGradientIsRefused) {
  Tensor x = at::randn({60, 20}).requires_grad_(), w = at::randn({30, 20}).requires_grad_();
  const Tensor y = dense_linear(x, w).square().sum();
  EXPECT_THROW(torch::autograd::grad({y}, {x}, {}, true, /*create_graph=*/true), Error);
}

TEST_F(Gemm, TheSameBitsForEveryNumberOfThreads) {
  const Tensor a = at::randn({700, 800}), b = at::randn({400, 800}), g = at::randn({700, 400});
  std::vector<Tensor> first;
  for (const int threads : {1, 2, 3, 7}) {
    at::set_num_threads(threads);
    Tensor dx = at::empty({700, 800}), dw = at::zeros({400, 800});
    product_nn_into(dx, g, b);
    add_product_tn(dw, g, a);
    const std::vector<Tensor> all = {product_nt(a, b), dx, dw};
    if (first.empty()) first = all;
    for (size_t i = 0; i < all.size(); ++i) EXPECT_TRUE(at::equal(all[i], first[i])) << threads << " " << i;
  }
}

}  // namespace
}  // namespace caravan::ops
