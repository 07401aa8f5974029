// Ranking metrics at several K, for one or many relevant items a case. Definitions are RecBole's (recbole/evaluator/
// metrics.py), which agree with scikit-learn's where both have a metric; checked against both to 1e-9.
//
//   RankingMeter meter({5, 10}, train_counts);
//   meter.add(ranked, relevant);                 // item indexes, best first; once a case
//   meter.result()[1].ndcg;                      // NDCG@10
//
// With r hits among the first K, n relevant items: hit rate 1 where r > 0; recall r / n; precision r / K; MRR 1 / rank
// of the first hit; NDCG sum of 1 / log2(rank + 1) over hits, divided by its largest possible value; MAP sum of
// precision@rank over hits, divided by min(n, K). All are means over cases. A list shorter than K has misses behind its
// end.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "caravan/base/json.h"

namespace caravan::eval {

struct RankingMetrics {
  int64_t k = 0;
  double recall = 0, hit_rate = 0, ndcg = 0, mrr = 0, map = 0, precision = 0;
  double coverage = 0;            // part of all items that were recommended to anybody
  double average_popularity = 0;  // mean training count of a list's items (ARP); lists without any say nothing
  double gini = 0;                // of how often each item was recommended: 0 all alike, towards 1 few items only
  double invalid_rate = 0;        // part of the K places that hold no item of the catalogue, or one a second time
};

class RankingMeter {
 public:
  // `train_counts` [N] stays with the caller. invalid_argument where ks is empty, or one of them is not positive.
  RankingMeter(std::vector<int64_t> ks, std::span<const int64_t> train_counts);

  // Items outside of 0..N-1 and repetitions keep their place, and count as invalid.
  void add(std::span<const int32_t> ranked, std::span<const int32_t> relevant);

  int64_t cases() const { return cases_; }
  std::vector<RankingMetrics> result() const;  // one a K, in the order given

 private:
  void add_at(size_t which, std::span<const int32_t> ranked, const std::vector<bool>& hits, size_t relevant);
  std::vector<int64_t> ks_;
  std::span<const int64_t> train_counts_;
  std::vector<RankingMetrics> sums_;
  std::vector<std::vector<int64_t>> recommended_;  // [K][N]
  std::vector<int64_t> filled_;                    // [K] lists that hold an item
  int64_t cases_ = 0;
};

Json to_json(const RankingMetrics& metrics);

}  // namespace caravan::eval
