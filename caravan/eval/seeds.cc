#include "caravan/eval/seeds.h"

#include <fmt/format.h>

#include <cmath>

#include "caravan/base/error.h"

namespace caravan::eval {

Spread spread_of(std::span<const double> values) {
  Spread spread;
  for (const double v : values) spread.mean += v / static_cast<double>(values.size());
  if (values.size() < 2) return spread;
  for (const double v : values) spread.deviation += (v - spread.mean) * (v - spread.mean);
  spread.deviation = std::sqrt(spread.deviation / static_cast<double>(values.size() - 1));
  return spread;
}

Json seeds_json(std::span<const Evaluation> evaluations) {
  Json rows = Json::array();
  check(!evaluations.empty(), ErrorCode::invalid_argument, "there is no evaluation to take the mean of");
  for (size_t which = 0; which < evaluations[0].metrics.size(); ++which) {
    const Json first = to_json(evaluations[0].metrics[which]);
    Json row = {{"k", first.at("k")}};
    for (const auto& [name, value] : first.items()) {
      if (name == "k") continue;
      std::vector<double> values;
      for (const Evaluation& e : evaluations) values.push_back(to_json(e.metrics.at(which)).at(name).get<double>());
      const Spread spread = spread_of(values);
      row[name] = {{"mean", spread.mean}, {"deviation", spread.deviation}};
    }
    rows.push_back(row);
  }
  return rows;
}

std::string format_seeds(std::span<const Evaluation> evaluations) {
  std::string text;
  for (const Json& row : seeds_json(evaluations)) {
    text += fmt::format("{:>4}", row.at("k").get<int64_t>());
    for (const char* name : {"recall", "ndcg", "mrr"}) {
      const Json& spread = row.at(name);
      text += fmt::format("  {} {:.4f} ± {:.4f}", name, spread.at("mean").get<double>(),
                          spread.at("deviation").get<double>());
    }
    text += "\n";
  }
  return text;
}

}  // namespace caravan::eval
