#include "caravan/eval/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "caravan/base/error.h"

namespace caravan::eval {
namespace {

TEST(Windows, HalvesOfWholeWindowsAsLlamaCpp) {
  // 8 tokens a window: tokens 5, 6, 7 are predicted from rows 4, 5, 6.
  const std::vector<Window> expected = {{0, 5, 8}, {8, 13, 16}};
  EXPECT_EQ(llama_windows(19, 8), expected);
  EXPECT_THROW(llama_windows(7, 8), Error);
  EXPECT_THROW(llama_windows(7, 2), Error);
}

TEST(Windows, StridesScoreEveryTokenOnce) {
  const std::vector<Window> expected = {{0, 1, 4}, {2, 4, 6}, {4, 6, 7}};
  EXPECT_EQ(strided_windows(7, 4, 2), expected);
  const std::vector<Window> whole = {{0, 1, 4}, {4, 5, 7}};
  EXPECT_EQ(strided_windows(7, 4, 4), whole);
  EXPECT_EQ(strided_windows(9, 4, 4).size(), 2u);  // a last window of one token scores nothing
  const std::vector<Window> one = {{0, 1, 7}};
  EXPECT_EQ(strided_windows(7, 100, 50), one);
  EXPECT_THROW(strided_windows(7, 4, 5), Error);
  EXPECT_THROW(strided_windows(1, 4, 4), Error);
}

TEST(Windows, AtEveryStrideTokensAreScoredInOrderAndOnce) {
  constexpr int64_t kContext = 8;
  for (const int64_t stride : {int64_t{1}, int64_t{2}, int64_t{4}, int64_t{7}, kContext}) {
    for (int64_t tokens = 2; tokens < 40; ++tokens) {
      std::vector<int> scored(static_cast<size_t>(tokens), 0);
      for (const Window& w : strided_windows(tokens, kContext, stride)) {
        EXPECT_LE(w.end - w.begin, kContext);
        EXPECT_GT(w.first, w.begin);  // with something before it
        for (int64_t i = w.first; i < w.end; ++i) ++scored[static_cast<size_t>(i)];
      }
      for (int64_t i = 0; i < tokens; ++i) {
        const bool has_context = i > 0 && (stride < kContext || i % kContext != 0);
        EXPECT_EQ(scored[static_cast<size_t>(i)], has_context ? 1 : 0) << "token " << i << " at stride " << stride;
      }
    }
  }
}

TEST(PerplexityValue, CountsWholeTokensAndMayPassTheRangeOfADouble) {
  Perplexity p;
  for (int i = 0; i < 3; ++i) p.add(800);
  EXPECT_EQ(p.count(), 3);
  EXPECT_DOUBLE_EQ(p.mean(), 800);
  EXPECT_TRUE(std::isinf(p.value()));
}

TEST(PerplexityValue, IsTheExponentialOfTheMean) {
  Perplexity p;
  p.add(1), p.add(3);
  EXPECT_DOUBLE_EQ(p.value(), std::exp(2.0));
  EXPECT_DOUBLE_EQ(p.uncertainty(), std::exp(2.0) * 1.0);  // variance 1, over n - 1 = 1
  EXPECT_EQ(Perplexity().uncertainty(), 0);
}

TEST(LogProbabilities, AgreeWithTheDefinition) {
  std::mt19937 engine(1);
  std::normal_distribution<float> normal(0, 5);
  std::vector<float> p(5000), q(5000);
  for (float& v : p) v = normal(engine);
  for (size_t i = 0; i < q.size(); ++i) q[i] = p[i] + 0.1f * normal(engine);
  double zp = 0, zq = 0, kl = 0;
  for (const float v : p) zp += std::exp(static_cast<double>(v));
  for (const float v : q) zq += std::exp(static_cast<double>(v));
  for (size_t i = 0; i < p.size(); ++i) {
    const double a = std::exp(static_cast<double>(p[i])) / zp, b = std::exp(static_cast<double>(q[i])) / zq;
    kl += a * std::log(a / b);
  }
  const Divergence::Token token = divergence(p, q, 17);
  EXPECT_NEAR(token.kl, kl, 1e-5);
  EXPECT_NEAR(token.p_nll, std::log(zp) - static_cast<double>(p[17]), 1e-6);
  EXPECT_NEAR(token.q_nll, std::log(zq) - static_cast<double>(q[17]), 1e-6);
  const int32_t target = 17;
  double out = 0;
  log_probabilities(p, {&target, 1}, {&out, 1});
  EXPECT_NEAR(out, -token.p_nll, 1e-12);
  const Divergence::Token same = divergence(p, p, 17);
  EXPECT_NEAR(same.kl, 0, 1e-7);
  EXPECT_TRUE(same.same_top);
}

TEST(DivergenceSummary, CountsQuantilesAndRatios) {
  Divergence d;
  for (int i = 0; i <= 100; ++i) d.add({.kl = i / 100.0, .same_top = i < 50, .p_nll = 1, .q_nll = 1.1});
  EXPECT_DOUBLE_EQ(d.quantile(0.5), 0.5);
  EXPECT_DOUBLE_EQ(d.quantile(0.99), 0.99);
  EXPECT_NEAR(d.mean(), 0.5, 1e-12);
  EXPECT_NEAR(d.same_top(), 50.0 / 101, 1e-12);
  EXPECT_NEAR(d.ratio(), std::exp(0.1), 1e-12);
  EXPECT_NEAR(d.ratio_uncertainty(), 0, 1e-6);
}

}  // namespace
}  // namespace caravan::eval
