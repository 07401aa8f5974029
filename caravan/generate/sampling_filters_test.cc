// Filters on vocabularies of real size; small ones are compared with transformers in golden_test.cc.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "caravan/generate/logits_processor.h"

namespace caravan::generate {
namespace {

// Places that top-p keeps, by its definition: the most probable tokens until their mass exceeds p.
std::vector<bool> kept_by_definition(const std::vector<float>& scores, double p) {
  const auto n = static_cast<int32_t>(scores.size());
  std::vector<int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return scores[a] < scores[b]; });
  double total = 0, tail = 0;
  for (const float s : scores) total += std::exp(double(s) - scores[order.back()]);
  std::vector<bool> kept(scores.size(), true);
  for (int32_t i = 0; i + 1 < n; ++i) {
    tail += std::exp(double(scores[order[i]]) - scores[order.back()]) / total;
    if (tail <= 1 - p) kept[order[i]] = false;
  }
  return kept;
}

TEST(TopP, KeepsTheSameTokensOfALargeVocabulary) {
  std::mt19937 random(5);
  for (const float spread : {0.0f, 0.5f, 2.0f, 4.0f, 8.0f, 20.0f}) {
    for (const double p : {0.05, 0.5, 0.9, 0.99, 0.9999}) {
      std::normal_distribution<float> normal;
      std::vector<float> scores(20000);
      for (float& s : scores) s = spread * normal(random);
      const std::vector<bool> expected = kept_by_definition(scores, p);
      GenerationConfig config;
      config.do_sample = true;
      config.top_k = 0;
      config.top_p = p;
      const std::vector<int32_t> prompt = {1};
      const ProcessorList list = make_processors(config, {.ids = prompt, .max_length = 10, .min_length = 0}, 20000);
      ASSERT_EQ(list.size(), 1u);
      const ScoreRow row{scores, prompt};
      list.apply({&row, 1});
      int64_t different = 0;
      for (size_t i = 0; i < scores.size(); ++i) different += std::isfinite(scores[i]) != expected[i];
      EXPECT_LE(different, spread < 1.0f ? 40 : 1) << spread << " " << p;  // sums that rounding decides
    }
  }
}

}  // namespace
}  // namespace caravan::generate
