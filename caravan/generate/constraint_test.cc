#include "caravan/generate/constraint.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "caravan/base/error.h"
#include "caravan/generate/logits_processor.h"
#include "caravan/generate/random.h"

namespace caravan::generate {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

std::vector<int32_t> allowed(const Constraint& constraint, std::vector<int32_t> generated) {
  std::vector<int32_t> ids;
  constraint.allow({}, generated, ids);
  return ids;
}

TEST(TrieConstraint, FollowsItsSequences) {
  const TrieConstraint trie({{5, 6, 2}, {5, 7, 2}, {9}}, {2});
  EXPECT_EQ(allowed(trie, {}), (std::vector<int32_t>{5, 9}));
  EXPECT_EQ(allowed(trie, {5}), (std::vector<int32_t>{6, 7}));
  EXPECT_EQ(allowed(trie, {5, 7}), (std::vector<int32_t>{2}));
  EXPECT_EQ(allowed(trie, {9}), (std::vector<int32_t>{2}));
  EXPECT_EQ(allowed(trie, {4}), (std::vector<int32_t>{2}));
}

TEST(Constraint, WinsOverBansOnlyWhereNothingElseIsLeft) {
  const auto rule = std::make_shared<TrieConstraint>(std::vector<std::vector<int32_t>>{{1}, {2}});
  const auto processor = constrain(rule, 0);
  std::vector<float> a = {0.5f, kNever, kNever}, b = {0.5f, kNever, -1.0f};
  const ScoreRow rows[] = {{a, {}}, {b, {}}};
  processor->apply_all(rows);
  EXPECT_EQ(a, (std::vector<float>{kNever, kNever, kNever}));
  EXPECT_EQ(b, (std::vector<float>{kNever, kNever, -1.0f}));
  a = {0.5f, kNever, kNever};
  processor->apply({a, {}});
  EXPECT_EQ(a, (std::vector<float>{kNever, 0.0f, 0.0f}));
}

TEST(Constraint, ATokenOutsideTheVocabularyIsAnError) {
  const auto processor = constrain(std::make_shared<TrieConstraint>(std::vector<std::vector<int32_t>>{{3}}), 0);
  std::vector<float> scores(3);
  EXPECT_THROW(processor->apply({scores, {}}), Error);
}

TEST(OccurrencePenalty, CountsGeneratedTokensOnly) {
  const std::vector<int32_t> ids = {0, 1, 1, 2, 2};
  std::vector<float> scores = {1, 1, 1};
  occurrence_penalty(0.5, 0.25, 2)->apply({scores, ids});
  EXPECT_EQ(scores, (std::vector<float>{1.0f, 0.25f, 0.0f}));
}

TEST(Random, StreamsAreReproducibleAndDifferent) {
  Random a(3, 0), same(3, 0), stream(3, 1), seed(4, 0);
  const uint64_t first = a.next();
  EXPECT_EQ(first, same.next());
  EXPECT_NE(first, stream.next());
  EXPECT_NE(first, seed.next());
  for (int i = 0; i < 1000; ++i) {
    const double u = a.uniform();
    EXPECT_TRUE(u >= 0 && u < 1);
  }
}

TEST(Random, DrawsNeverTakeAnImpossibleIndexAndRefuseNoWeight) {
  Random random(1);
  const std::vector<float> weights = {0, 0.25f, 0, 0.5f, 0};
  int64_t threes = 0;
  for (int i = 0; i < 3000; ++i) {
    const int32_t index = draw(weights, random);
    ASSERT_TRUE(index == 1 || index == 3);
    threes += index == 3;
  }
  EXPECT_NEAR(static_cast<double>(threes), 2000, 130);  // 5 standard deviations
  EXPECT_THROW(draw(std::vector<float>{0, 0}, random), Error);
  EXPECT_THROW(draw(std::vector<float>{NAN}, random), Error);
}

}  // namespace
}  // namespace caravan::generate
