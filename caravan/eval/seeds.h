// Several trainings of one setting (seeds): mean and standard deviation of every metric. The published noise between
// seeds reaches 11%; a difference that lies within the deviations says nothing.
//
//   print(format_seeds(evaluations));      //   10  recall 0.0812 ± 0.0011  ndcg 0.0441 ± 0.0007 ...
#pragma once

#include <span>
#include <string>

#include "caravan/base/json.h"
#include "caravan/eval/recommend.h"

namespace caravan::eval {

struct Spread {
  double mean = 0, deviation = 0;  // of a sample: divided by n - 1
};
Spread spread_of(std::span<const double> values);

// [{"k": 10, "recall": {"mean": 0.0812, "deviation": 0.0011}, ...}]; the evaluations have the same ks.
Json seeds_json(std::span<const Evaluation> evaluations);
std::string format_seeds(std::span<const Evaluation> evaluations);  // for people: recall, ndcg, mrr

}  // namespace caravan::eval
