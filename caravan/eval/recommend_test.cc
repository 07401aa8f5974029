#include "caravan/eval/recommend.h"

#include <gtest/gtest.h>

#include <cmath>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/data/prepare.h"
#include "caravan/eval/baselines.h"
#include "caravan/eval/seeds.h"

namespace caravan::eval {
namespace {

using data::Dataset;
using List = std::vector<int32_t>;

Dataset make(int64_t items, const std::vector<List>& sequences) {
  std::vector<items::Item> all;
  for (int64_t i = 0; i < items; ++i) all.push_back({.id = "i" + std::to_string(i)});
  Dataset data;
  data.items = items::Catalogue(std::move(all));
  for (size_t u = 0; u < sequences.size(); ++u) data.add_user("u" + std::to_string(u), sequences[u]);
  data.count_items();
  return data;
}

// Train parts: 0 1 2 | 0 1 | 2 1.
Dataset small() { return make(6, {{0, 1, 2, 3, 4}, {0, 1, 5, 0}, {2, 1, 0, 3}}); }

List first(const Recommender& recommend, const List& history, const List& exclude, int64_t k) {
  const std::vector<Request> requests = {{history, exclude}};
  return recommend(requests, k).at(0);
}

TEST(Popularity, RanksByTrainingCountsOrByAll) {
  const Dataset data = small();
  EXPECT_EQ(first(popularity(data, Counts::training), {0}, {}, 10), (List{1, 0, 2, 3, 4, 5}));  // 3, 2, 2, then ties
  EXPECT_EQ(first(popularity(data, Counts::all), {0}, {}, 3), (List{0, 1, 2}));                 // 4, 3, 2
  EXPECT_EQ(first(popularity(data, Counts::training), {0}, {1, 0, 1}, 2), (List{2, 3}));
}

TEST(Markov, FollowsTheCountsOfWhatCameNext) {
  const Dataset data = small();  // 0 -> 1 twice, 1 -> 2, 2 -> 1
  EXPECT_EQ(first(markov(data, {.last = 1}), {0}, {}, 3), (List{1, 0, 2}));
  EXPECT_EQ(first(markov(data, {.last = 1}), {0, 1}, {}, 1), List{2});
  EXPECT_EQ(first(markov(data, {.last = 2}), {0, 1}, {}, 2), (List{1, 2}));                 // 2 from 0, 1 from 1
  EXPECT_EQ(first(markov(data, {.last = 2, .decay = 0.25}), {0, 1}, {}, 2), (List{2, 1}));  // 0.5 from 0
  EXPECT_EQ(first(markov(data, {.last = 3}), {5}, {1}, 2), (List{0, 2}));                   // no evidence: popularity
  EXPECT_THROW(markov(data, {.last = 0}), Error);
  EXPECT_THROW(markov(data, {.decay = 0}), Error);
}

TEST(ItemKnn, RanksByCosineOfWeightedCoCounts) {
  const Dataset data = small();
  // sim(0, 1) = (1/log 4 + 1/log 3) / sqrt(2 * 3) = 0.666, sim(0, 2) = (1/log 4) / sqrt(2 * 2) = 0.361
  EXPECT_EQ(first(item_knn(data, {}), {0}, {0}, 3), (List{1, 2, 3}));
  EXPECT_EQ(first(item_knn(data, {.neighbours = 1}), {0}, {0, 1}, 1), List{2});  // only by popularity
  EXPECT_EQ(first(item_knn(data, {}), {5}, {}, 1), List{1});
  EXPECT_THROW(item_knn(data, {.neighbours = 0}), Error);
}

TEST(FindBaseline, KnowsItsNames) {
  const Dataset data = small();
  for (const std::string& name : baseline_names())
    EXPECT_EQ(first(find_baseline(name, data), {0}, {}, 6).size(), 6u) << name;
  EXPECT_THROW(find_baseline("svd", data), Error);
}

TEST(Evaluate, AsksWithTheHistoryOfThePart) {
  const Dataset data = small();
  std::vector<List> histories;
  std::vector<size_t> excluded;
  const Recommender spy = [&](std::span<const Request> requests, int64_t k) {
    EXPECT_EQ(k, 3);
    for (const Request& r : requests)
      histories.emplace_back(r.history.begin(), r.history.end()), excluded.push_back(r.exclude.size());
    return std::vector<List>(requests.size(), List{3, 4, 0});
  };
  const Evaluation test = evaluate(data, spy, {.ks = {1, 3}, .batch = 2});
  EXPECT_EQ(histories, (std::vector<List>{{0, 1, 2, 3}, {0, 1, 5}, {2, 1, 0}}));
  EXPECT_EQ(excluded, (std::vector<size_t>{4, 3, 3}));
  EXPECT_EQ(test.users, 3);
  EXPECT_DOUBLE_EQ(test.metrics[0].recall, 1.0 / 3);  // targets 4, 0, 3
  EXPECT_DOUBLE_EQ(test.metrics[1].recall, 1.0);
  EXPECT_DOUBLE_EQ(test.metrics[1].mrr, (0.5 + 1.0 / 3 + 1) / 3);
  EXPECT_EQ(test.cold_targets, 2);  // 4 and 3
  EXPECT_EQ(test.seen_targets, 1);  // 0

  histories.clear(), excluded.clear();
  const Evaluation validation = evaluate(data, spy, {.ks = {3}, .part = Part::validation, .exclude_seen = false});
  EXPECT_EQ(histories, (std::vector<List>{{0, 1, 2}, {0, 1}, {2, 1}}));
  EXPECT_EQ(excluded, (std::vector<size_t>{0, 0, 0}));
  EXPECT_DOUBLE_EQ(validation.metrics[0].recall, 2.0 / 3);  // targets 3, 5, 0
}

TEST(Evaluate, TakesTheNextItemOrAllOfATimeSplitsPart) {
  Dataset data = make(4, {});
  data.add_user("a", List{0, 1, 2, 3}, {}, 1, 2);  // test part: 2 3
  data.add_user("b", List{0, 1}, {}, 0, 0);        // nothing before it
  data.add_user("c", List{0}, {}, 1, 1);           // nothing to find
  data.count_items();
  const Recommender three = [](std::span<const Request> requests, int64_t) {
    return std::vector<List>(requests.size(), List{3});
  };
  const Evaluation next = evaluate(data, three, {.ks = {2}}),
                   all = evaluate(data, three, {.ks = {2}, .targets = Targets::all});
  EXPECT_EQ(next.users, 1);
  EXPECT_EQ(next.without_history, 1);
  EXPECT_DOUBLE_EQ(next.metrics[0].recall, 0.0);
  EXPECT_DOUBLE_EQ(all.metrics[0].recall, 0.5);
  EXPECT_THROW(evaluate(make(2, {{0, 1}}), three, {}), Error);
}

TEST(Evaluate, TakesTheSameSampleEachTime) {
  const Dataset data = make(3, std::vector<List>(50, List{0, 1, 2}));
  int64_t asked = 0;
  const Recommender count = [&](std::span<const Request> requests, int64_t) {
    asked += static_cast<int64_t>(requests.size());
    return std::vector<List>(requests.size(), List{2});
  };
  EXPECT_EQ(evaluate(data, count, {.max_users = 7}).users, 7);
  EXPECT_EQ(asked, 7);
}

TEST(Seeds, MeanAndDeviationOfAFewTrainings) {
  const double values[] = {2, 4, 9};
  EXPECT_DOUBLE_EQ(spread_of(values).mean, 5);
  EXPECT_DOUBLE_EQ(spread_of(values).deviation, std::sqrt((9.0 + 1 + 16) / 2));
  EXPECT_EQ(spread_of(std::span(values).first(1)).deviation, 0);
  std::vector<Evaluation> runs(2);
  runs[0].metrics = {{.k = 10, .recall = 0.1, .ndcg = 0.05, .mrr = 0.04}};
  runs[1].metrics = {{.k = 10, .recall = 0.2, .ndcg = 0.05, .mrr = 0.04}};
  EXPECT_NEAR(seeds_json(runs)[0]["recall"]["mean"].get<double>(), 0.15, 1e-12);
  EXPECT_EQ(format_seeds(runs), "  10  recall 0.1500 ± 0.0707  ndcg 0.0500 ± 0.0000  mrr 0.0400 ± 0.0000\n");
}

TEST(BestItems, RanksByScoreThenIndex) {
  const std::vector<double> scores = {1, 3, 3, 2};
  EXPECT_EQ(best_items(scores, {}, 3), (List{1, 2, 3}));
  EXPECT_EQ(best_items(scores, List{1, 1}, 9), (List{2, 3, 0}));
}

// The protocol is right where the published PopRec of S3-Rec's paper comes out to all four digits.
TEST(Protocol, ReproducesThePublishedBaselinesOnBeauty) {
  const std::string path = CARAVAN_SOURCE_DIR "/../shared/data/amazon-beauty/Beauty.txt";
  if (!file_exists(path)) GTEST_SKIP() << "no " << path;
  const std::vector<std::string> paths = {path};
  const Dataset data = data::prepare(data::read_interactions(paths, {}), {}, {});
  EXPECT_EQ(data.user_count(), 22363);
  EXPECT_EQ(data.items.size(), 12101);
  EXPECT_EQ(data.interaction_count(), 198502);
  EXPECT_NEAR(data.description["report"]["numbering_leak"].get<double>(), 0.044, 0.0005);
  const auto expect = [&](const char* name, int64_t k, double recall, double ndcg, double within) {
    const Evaluation e = evaluate(data, find_baseline(name, data), {.ks = {k}});
    EXPECT_NEAR(e.metrics[0].recall, recall, within) << name;
    EXPECT_NEAR(e.metrics[0].ndcg, ndcg, within) << name;
    EXPECT_EQ(e.metrics[0].invalid_rate, 0) << name;
  };
  expect("popularity-all", 5, .0080, .0044, 5e-5);
  expect("popularity-all", 10, .0152, .0068, 5e-5);
  expect("popularity", 10, .0115, .0055, 2e-4);
  expect("markov", 10, .0666, .0430, 1.5e-3);  // ties alone move it by .001
  expect("item-knn", 10, .0681, .0408, 5e-4);
}

}  // namespace
}  // namespace caravan::eval
