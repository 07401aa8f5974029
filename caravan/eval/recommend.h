// The field's protocol for next-item recommendation: every user's history in, a ranking of all items out, metrics.
//
//   Recommender recommend = popularity(data, Counts::training);
//   Evaluation result = evaluate(data, recommend, {.ks = {5, 10}});
//
// Anything that ranks items for histories is a Recommender: a baseline (eval/baselines.h), or a model's beam search.
// Full ranking always: no sampled negatives. Validation asks for the item after the training part; test for the one
// after training and validation, both in the history.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/base/json.h"
#include "caravan/data/dataset.h"
#include "caravan/eval/ranking.h"

namespace caravan::eval {

struct Request {
  std::span<const int32_t> history;  // oldest first, never empty
  std::span<const int32_t> exclude;  // items that must not be recommended; may repeat itself
  std::string_view user = {};        // id
};

// For each request up to k item indexes, best first; a place without an item holds data::kNoItem.
using Recommender = std::function<std::vector<std::vector<int32_t>>(std::span<const Request> requests, int64_t k)>;

enum class Part { validation, test };
enum class Targets { next, all };  // the first item of the part, or all of it (the same under leave-one-out)

struct Protocol {
  std::vector<int64_t> ks = {5, 10};
  Part part = Part::test;
  Targets targets = Targets::next;
  bool exclude_seen = true;                // items of the history are not recommended
  int64_t max_users = 0;                   // a sample for quick looks, the same one each time; 0: everybody
  int64_t part_index = 0, part_count = 1;  // of those users only each part_count-th: several processes share the work
  int64_t batch = 256;                     // requests handed over at once
  std::function<void(int64_t done, int64_t total)> progress = {};
};

struct Evaluation {
  std::vector<RankingMetrics> metrics;  // one a K
  int64_t users = 0;                    // cases that were ranked
  int64_t without_history = 0;          // users with targets but no history before them: left out
  int64_t cold_targets = 0;             // cases with a target that training never saw
  int64_t seen_targets = 0;  // cases with a target in the history: not to be found where seen items are excluded
  double seconds = 0;        // spent in the recommender
};

// invalid_argument where the part holds no targets.
Evaluation evaluate(const data::Dataset& data, const Recommender& recommend, const Protocol& protocol);

// "keys": metrics [per K], users, without_history, cold_targets, seen_targets, users_per_second, protocol.
Json to_json(const Evaluation& evaluation, const Protocol& protocol);
std::string format_table(const Evaluation& evaluation);  // for people

// The k best of all items by score, without `exclude`: equal scores stand in the order of their indexes, which is
// random and the same for everybody (data/prepare.h).
std::vector<int32_t> best_items(std::span<const double> scores, std::span<const int32_t> exclude, int64_t k);

Part find_part(const std::string& name);        // test, validation
Targets find_targets(const std::string& name);  // next, all

}  // namespace caravan::eval
