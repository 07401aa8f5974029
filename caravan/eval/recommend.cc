#include "caravan/eval/recommend.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "caravan/base/error.h"
#include "caravan/data/prepare.h"

namespace caravan::eval {
namespace {

using data::Dataset;

struct Case {
  std::span<const int32_t> history, targets;
};

Case case_of(const Dataset& data, int64_t user, const Protocol& protocol) {
  const bool test = protocol.part == Part::test;
  Case c{test ? data.test_history(user) : data.validation_history(user),
         test ? data.test_targets(user) : data.validation_targets(user)};
  if (protocol.targets == Targets::next && c.targets.size() > 1) c.targets = c.targets.first(1);
  return c;
}

// All users with targets, or a sample of them.
std::vector<int64_t> all_users_of(const Dataset& data, const Protocol& protocol, Evaluation& evaluation) {
  std::vector<int64_t> users;
  for (int64_t u = 0; u < data.user_count(); ++u) {
    const Case c = case_of(data, u, protocol);
    if (c.targets.empty()) continue;
    if (c.history.empty()) {
      ++evaluation.without_history;
    } else {
      users.push_back(u);
    }
  }
  check(!users.empty(), ErrorCode::invalid_argument, "no user has an item in the {} part with a history before it",
        protocol.part == Part::test ? "test" : "validation");
  if (protocol.max_users <= 0 || static_cast<int64_t>(users.size()) <= protocol.max_users) return users;
  const std::vector<int32_t> order = data::random_order(static_cast<int64_t>(users.size()), 0);
  std::vector<int64_t> sample;
  for (int64_t i = 0; i < protocol.max_users; ++i)
    sample.push_back(users[static_cast<size_t>(order[static_cast<size_t>(i)])]);
  std::sort(sample.begin(), sample.end());
  return sample;
}

std::vector<int64_t> users_of(const Dataset& data, const Protocol& protocol, Evaluation& evaluation) {
  const std::vector<int64_t> all = all_users_of(data, protocol, evaluation);
  std::vector<int64_t> part;
  for (size_t i = 0; i < all.size(); ++i) {
    if (static_cast<int64_t>(i) % protocol.part_count == protocol.part_index) part.push_back(all[i]);
  }
  return part;
}

bool contains(std::span<const int32_t> items, int32_t item) {
  return std::find(items.begin(), items.end(), item) != items.end();
}

}  // namespace

Evaluation evaluate(const Dataset& data, const Recommender& recommend, const Protocol& protocol) {
  check(protocol.batch > 0, ErrorCode::invalid_argument, "the batch must be positive, got {}", protocol.batch);
  std::vector<int64_t> counts;
  for (const items::Item& item : data.items) counts.push_back(item.count);
  RankingMeter meter(protocol.ks, counts);
  const int64_t k = *std::max_element(protocol.ks.begin(), protocol.ks.end());

  Evaluation evaluation;
  const std::vector<int64_t> users = users_of(data, protocol, evaluation);
  std::vector<Request> requests;
  std::vector<Case> cases;
  for (size_t begin = 0; begin < users.size(); begin += requests.size()) {
    requests.clear(), cases.clear();
    for (size_t i = begin; i < users.size() && static_cast<int64_t>(requests.size()) < protocol.batch; ++i) {
      cases.push_back(case_of(data, users[i], protocol));
      const auto history = cases.back().history;
      requests.push_back({.history = history,
                          .exclude = protocol.exclude_seen ? history : std::span<const int32_t>(),
                          .user = data.user_id(users[i])});
    }
    const auto start = std::chrono::steady_clock::now();
    const std::vector<std::vector<int32_t>> ranked = recommend(requests, k);
    evaluation.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    check(ranked.size() == requests.size(), ErrorCode::internal, "{} rankings for {} requests", ranked.size(),
          requests.size());
    for (size_t i = 0; i < ranked.size(); ++i) {
      meter.add(ranked[i], cases[i].targets);
      const auto any = [&](auto&& is) { return std::any_of(cases[i].targets.begin(), cases[i].targets.end(), is); };
      evaluation.cold_targets += any([&](int32_t item) { return data.items[item].count == 0; });
      evaluation.seen_targets += any([&](int32_t item) { return contains(cases[i].history, item); });
    }
    if (protocol.progress)
      protocol.progress(static_cast<int64_t>(begin + requests.size()), static_cast<int64_t>(users.size()));
  }
  evaluation.users = meter.cases();
  evaluation.metrics = meter.result();
  return evaluation;
}

Json to_json(const Evaluation& evaluation, const Protocol& protocol) {
  Json metrics = Json::array();
  for (const RankingMetrics& m : evaluation.metrics) metrics.push_back(to_json(m));
  return {{"split", protocol.part == Part::test ? "test" : "validation"},
          {"targets", protocol.targets == Targets::next ? "next" : "all"},
          {"seen", protocol.exclude_seen ? "exclude" : "include"},
          {"users", evaluation.users},
          {"without_history", evaluation.without_history},
          {"cold_targets", evaluation.cold_targets},
          {"seen_targets", evaluation.seen_targets},
          {"users_per_second", static_cast<double>(evaluation.users) / std::max(evaluation.seconds, 1e-9)},
          {"metrics", metrics}};
}

std::string format_table(const Evaluation& evaluation) {
  std::string out = fmt::format("{:>4}  {:>8}{:>8}{:>8}{:>8}{:>8}  {:>8}  {:>10}{:>8}{:>9}\n", "K", "recall", "ndcg",
                                "mrr", "map", "hit", "precision", "coverage", "gini", "ARP");
  bool invalid = false;
  for (const RankingMetrics& m : evaluation.metrics) {
    out +=
        fmt::format("{:>4}  {:>8.4f}{:>8.4f}{:>8.4f}{:>8.4f}{:>8.4f}  {:>9.4f}  {:>10.4f}{:>8.3f}{:>9.1f}\n", m.k,
                    m.recall, m.ndcg, m.mrr, m.map, m.hit_rate, m.precision, m.coverage, m.gini, m.average_popularity);
    invalid |= m.invalid_rate > 0;
  }
  for (const RankingMetrics& m : evaluation.metrics) {
    if (invalid) out += fmt::format("invalid places among the first {}: {:.3f} %\n", m.k, 100 * m.invalid_rate);
  }
  return out;
}

std::vector<int32_t> best_items(std::span<const double> scores, std::span<const int32_t> exclude, int64_t k) {
  std::vector<bool> barred(scores.size(), false);
  for (const int32_t item : exclude) barred[static_cast<size_t>(item)] = true;
  std::vector<int32_t> items;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (!barred[i]) items.push_back(static_cast<int32_t>(i));
  }
  const auto better = [&](int32_t a, int32_t b) {
    const double x = scores[static_cast<size_t>(a)], y = scores[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  };
  const auto n = std::min(items.size(), static_cast<size_t>(std::max<int64_t>(k, 0)));
  std::partial_sort(items.begin(), items.begin() + static_cast<int64_t>(n), items.end(), better);
  items.resize(n);
  return items;
}

Part find_part(const std::string& name) {
  if (name == "validation") return Part::validation;
  check(name == "test", ErrorCode::invalid_argument, "--split: expected test or validation, got '{}'", name);
  return Part::test;
}

Targets find_targets(const std::string& name) {
  if (name == "all") return Targets::all;
  check(name == "next", ErrorCode::invalid_argument, "--targets: expected next or all, got '{}'", name);
  return Targets::next;
}

}  // namespace caravan::eval
