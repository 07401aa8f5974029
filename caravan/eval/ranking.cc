#include "caravan/eval/ranking.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "caravan/base/error.h"
#include "caravan/data/report.h"

namespace caravan::eval {
namespace {

double discount(size_t place) { return 1.0 / std::log2(static_cast<double>(place) + 2.0); }  // place from 0

double ideal_dcg(size_t hits) {
  double sum = 0;
  for (size_t place = 0; place < hits; ++place) sum += discount(place);
  return sum;
}

constexpr int32_t kInvalid = -1;

}  // namespace

RankingMeter::RankingMeter(std::vector<int64_t> ks, std::span<const int64_t> train_counts)
    : ks_(std::move(ks)), train_counts_(train_counts) {
  check(!ks_.empty() && std::all_of(ks_.begin(), ks_.end(), [](int64_t k) { return k > 0; }),
        ErrorCode::invalid_argument, "metrics need at least one K, and each K must be positive");
  sums_.resize(ks_.size());
  for (size_t i = 0; i < ks_.size(); ++i) sums_[i].k = ks_[i];
  filled_.assign(ks_.size(), 0);
  recommended_.assign(ks_.size(), std::vector<int64_t>(train_counts.size(), 0));
}

void RankingMeter::add(std::span<const int32_t> ranked, std::span<const int32_t> relevant) {
  std::vector<int32_t> wanted(relevant.begin(), relevant.end()), places(ranked.begin(), ranked.end());
  std::sort(wanted.begin(), wanted.end());
  wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
  check(!wanted.empty(), ErrorCode::invalid_argument, "a case needs at least one relevant item");
  std::vector<bool> hits(ranked.size(), false);
  std::vector<int32_t> before;  // sorted, of the valid places so far
  for (size_t i = 0; i < ranked.size(); ++i) {
    const auto at = std::lower_bound(before.begin(), before.end(), ranked[i]);
    const bool again = at != before.end() && *at == ranked[i];
    if (again || ranked[i] < 0 || static_cast<size_t>(ranked[i]) >= train_counts_.size()) {
      places[i] = kInvalid;
      continue;
    }
    before.insert(at, ranked[i]);
    hits[i] = std::binary_search(wanted.begin(), wanted.end(), ranked[i]);
  }
  ++cases_;
  for (size_t which = 0; which < ks_.size(); ++which) add_at(which, places, hits, wanted.size());
}

void RankingMeter::add_at(size_t which, std::span<const int32_t> ranked, const std::vector<bool>& hits,
                          size_t relevant) {
  const auto k = static_cast<size_t>(ks_[which]);
  const size_t n = std::min(k, ranked.size());
  RankingMetrics& sum = sums_[which];
  size_t found = 0, valid = 0;
  double dcg = 0, precisions = 0, first = 0, popularity = 0;
  for (size_t place = 0; place < n; ++place) {
    if (ranked[place] != kInvalid) {
      ++valid;
      ++recommended_[which][static_cast<size_t>(ranked[place])];
      popularity += static_cast<double>(train_counts_[static_cast<size_t>(ranked[place])]);
    }
    if (!hits[place]) continue;
    if (found++ == 0) first = 1.0 / static_cast<double>(place + 1);
    dcg += discount(place);
    precisions += static_cast<double>(found) / static_cast<double>(place + 1);
  }
  const size_t possible = std::min(k, relevant);
  sum.recall += static_cast<double>(found) / static_cast<double>(relevant);
  sum.hit_rate += found > 0;
  sum.ndcg += dcg / ideal_dcg(possible);
  sum.mrr += first;
  sum.map += precisions / static_cast<double>(possible);
  sum.precision += static_cast<double>(found) / static_cast<double>(k);
  sum.invalid_rate += static_cast<double>(n - valid) / static_cast<double>(k);
  if (valid == 0) return;
  sum.average_popularity += popularity / static_cast<double>(valid);
  ++filled_[which];
}

std::vector<RankingMetrics> RankingMeter::result() const {
  std::vector<RankingMetrics> means = sums_;
  const double cases = static_cast<double>(std::max<int64_t>(cases_, 1));
  for (size_t i = 0; i < means.size(); ++i) {
    RankingMetrics& m = means[i];
    for (double* sum : {&m.recall, &m.hit_rate, &m.ndcg, &m.mrr, &m.map, &m.precision, &m.invalid_rate}) *sum /= cases;
    m.average_popularity /= static_cast<double>(std::max<int64_t>(filled_[i], 1));
    const std::vector<int64_t>& counts = recommended_[i];
    const auto never = std::count(counts.begin(), counts.end(), 0);
    m.coverage = counts.empty() ? 0.0 : 1.0 - static_cast<double>(never) / static_cast<double>(counts.size());
    m.gini = data::gini(counts);
  }
  return means;
}

Json to_json(const RankingMetrics& m) {
  return {{"k", m.k},
          {"recall", m.recall},
          {"hit_rate", m.hit_rate},
          {"ndcg", m.ndcg},
          {"mrr", m.mrr},
          {"map", m.map},
          {"precision", m.precision},
          {"coverage", m.coverage},
          {"average_popularity", m.average_popularity},
          {"gini", m.gini},
          {"invalid_rate", m.invalid_rate}};
}

}  // namespace caravan::eval
