#include "caravan/cli/train_ranking.h"

#include <fmt/format.h>

#include "caravan/eval/recommend.h"
#include "caravan/generate/recommender.h"

namespace caravan::cli {

std::pair<train::Metrics, int64_t> rank_items(models::CausalLm& model, const train::RankingTask& task) {
  std::vector<int64_t> counts;
  for (const items::Item& item : task.dataset->items) counts.push_back(item.count);
  generate::Recommender recommender(model, *task.tokens, task.format, counts, {.beams = task.beams});
  const eval::Recommender ranked = [&](std::span<const eval::Request> requests, int64_t k) {
    std::vector<generate::RecommendRequest> asked;
    for (const eval::Request& request : requests)
      asked.push_back({.history = request.history, .exclude = request.exclude, .user = request.user});
    std::vector<std::vector<int32_t>> lists;
    for (const auto& found : recommender.recommend(asked, k)) {
      lists.emplace_back();
      for (const generate::Recommendation& one : found) lists.back().push_back(one.item);
    }
    return lists;
  };
  const eval::Protocol protocol{.ks = {task.metric.k},
                                .part = eval::Part::validation,
                                .max_users = task.users,
                                .part_index = task.part,
                                .part_count = task.parts};
  const eval::Evaluation evaluation = eval::evaluate(*task.dataset, ranked, protocol);
  const Json values = eval::to_json(evaluation.metrics.at(0));
  train::Metrics metrics;
  for (const std::string& name : {std::string("recall"), std::string("ndcg"), std::string("mrr"), task.metric.name})
    metrics[fmt::format("{}@{}", name, task.metric.k)] = values.at(name).get<double>();
  return {metrics, evaluation.users};
}

}  // namespace caravan::cli
