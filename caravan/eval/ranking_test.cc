// Against RecBole and scikit-learn (scripts/golden/ranking.py), and by hand.
#include "caravan/eval/ranking.h"

#include <gtest/gtest.h>

#include <cmath>

#include "caravan/base/error.h"
#include "caravan/base/file.h"

namespace caravan::eval {
namespace {

using List = std::vector<int32_t>;

const Json& golden() {
  static const Json json = parse_json(read_file(CARAVAN_SOURCE_DIR "/tests/golden/eval/ranking.json"), "ranking.json");
  return json;
}

double value_of(const RankingMetrics& m, const std::string& name) { return to_json(m).at(name).get<double>(); }

// Adds a set's cases; `full` ranks all the items, as scikit-learn sees them.
std::vector<RankingMetrics> measured(const Json& set, std::vector<int64_t> ks, bool full = false) {
  const auto counts = set["train_counts"].get<std::vector<int64_t>>();
  RankingMeter meter(std::move(ks), counts);
  for (size_t i = 0; i < set["cases"].size(); ++i) {
    const Json& c = set["cases"][i];
    meter.add((full ? set["scikit_learn"]["full_ranking"][i] : c["ranked"]).get<List>(), c["relevant"].get<List>());
  }
  return meter.result();
}

TEST(RankingMeter, EqualsRecBole) {
  for (const Json& set : golden()["sets"]) {
    const auto ks = set["ks"].get<std::vector<int64_t>>();
    const auto found = measured(set, ks);
    ASSERT_EQ(set["recbole"].size(), 9u);
    for (const auto& [name, values] : set["recbole"].items()) {
      for (size_t i = 0; i < ks.size(); ++i)
        EXPECT_NEAR(value_of(found[i], name), values[i].get<double>(), 1e-12) << name << "@" << ks[i];
    }
  }
}

TEST(RankingMeter, EqualsScikitLearn) {
  for (const Json& set : golden()["sets"]) {
    const auto ks = set["ks"].get<std::vector<int64_t>>();
    const Json& wanted = set["scikit_learn"];
    const auto found = measured(set, ks);
    for (size_t i = 0; i < ks.size(); ++i) {
      for (const char* name : {"ndcg", "precision", "recall"})
        EXPECT_NEAR(value_of(found[i], name), wanted[name][i].get<double>(), 1e-12) << name << "@" << ks[i];
    }
    const auto whole = measured(set, {static_cast<int64_t>(set["train_counts"].size())}, true);
    EXPECT_NEAR(whole[0].map, wanted["full_map"].get<double>(), 1e-12);
    if (wanted.contains("full_mrr")) EXPECT_NEAR(whole[0].mrr, wanted["full_mrr"].get<double>(), 1e-12);
    EXPECT_DOUBLE_EQ(whole[0].recall, 1.0);
    EXPECT_DOUBLE_EQ(whole[0].coverage, 1.0);
  }
}

TEST(RankingMeter, CountsPlacesWithoutAnItem) {
  const std::vector<int64_t> counts = {5, 1, 0, 0};
  RankingMeter meter({4}, counts);
  meter.add(List{-1, 0, 0, 7}, List{0});  // a hit at place 2, then a repetition and an item that does not exist
  meter.add(List{}, List{3});
  const RankingMetrics m = meter.result()[0];
  EXPECT_DOUBLE_EQ(m.hit_rate, 0.5);
  EXPECT_DOUBLE_EQ(m.mrr, 0.25);
  EXPECT_DOUBLE_EQ(m.ndcg, 0.5 / std::log2(3.0));
  EXPECT_DOUBLE_EQ(m.precision, 0.125);
  EXPECT_DOUBLE_EQ(m.invalid_rate, 3.0 / 8);
  EXPECT_DOUBLE_EQ(m.coverage, 0.25);
  EXPECT_DOUBLE_EQ(m.average_popularity, 5);  // of the one list that holds an item
  EXPECT_DOUBLE_EQ(m.gini, 0.75);
}

TEST(RankingMeter, RefusesWhatMakesNoSense) {
  const std::vector<int64_t> counts = {1};
  EXPECT_THROW(RankingMeter({}, counts), Error);
  EXPECT_THROW(RankingMeter({5, 0}, counts), Error);
  RankingMeter meter({1}, counts);
  EXPECT_THROW(meter.add(List{0}, List{}), Error);
}

}  // namespace
}  // namespace caravan::eval
