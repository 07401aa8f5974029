// Baselines that count: nothing is trained, all of them run in seconds, and published neural models lose to some of
// them (see docs/eval.md). They count the training part alone, except where popularity is asked to count everything.
//
//   Recommender knn = item_knn(data, {});
//   Evaluation result = evaluate(data, knn, {});
//
// Items that a baseline has no evidence for come last, by training popularity. The dataset must outlive the
// recommender.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "caravan/eval/recommend.h"

namespace caravan::eval {

enum class Counts {
  training,
  all,  // validation and test included: how S3-Rec's published PopRec counted; for comparison with it only
};
Recommender popularity(const data::Dataset& data, Counts counts);

// score(j) = sum over the last `last` items i of the history, d = 0 for the newest: decay^d * n(i -> j), where n counts
// how often j came right after i.
struct MarkovOptions {
  int64_t last = 3;
  double decay = 1.0;
};
Recommender markov(const data::Dataset& data, const MarkovOptions& options);

// score(j) = sum over the last `last` items i: decay^d * sim(i, j), sim(i, j) = sum over users with both of 1 / log(1 +
// n_u), divided by sqrt(n_i n_j); n counts distinct users and items. The weight of a user is Breese, Heckerman &
// Kadie's inverse user frequency (1998): what somebody with few items has in common says more.
struct ItemKnnOptions {
  int64_t last = 10;
  double decay = 0.8;
  int64_t neighbours = 2000;  // kept for each item, the most similar ones
};
Recommender item_knn(const data::Dataset& data, const ItemKnnOptions& options);

// popularity, popularity-all, markov, item-knn; invalid_argument for other names, with the list. What is not set keeps
// the baseline's own default; popularity looks at none of it.
struct BaselineOptions {
  std::optional<int64_t> last = {};
  std::optional<double> decay = {};
};
Recommender find_baseline(const std::string& name, const data::Dataset& data, const BaselineOptions& options = {});
const std::vector<std::string>& baseline_names();

}  // namespace caravan::eval
