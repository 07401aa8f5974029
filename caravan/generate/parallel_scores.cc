#include "caravan/generate/parallel_scores.h"

#include <torch/torch.h>

#include <algorithm>

#include "caravan/base/error.h"

namespace caravan::generate {

ParallelScores::ParallelScores(models::CausalLm& model, std::span<const std::vector<int32_t>> tokens) {
  check(!tokens.empty(), ErrorCode::invalid_argument, "there are no items");
  const size_t depth = tokens[0].size();
  const bool even = std::all_of(tokens.begin(), tokens.end(), [&](const auto& item) { return item.size() == depth; });
  check(even && depth > 0, ErrorCode::invalid_argument, "codes that are said at once must be as many for every item");
  for (size_t level = 0; level < depth; ++level) {
    std::vector<int64_t> own, distinct;
    for (const auto& item : tokens) own.push_back(item[level]);
    distinct = own;
    std::sort(distinct.begin(), distinct.end());
    distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
    for (int64_t& token : own) token = std::lower_bound(distinct.begin(), distinct.end(), token) - distinct.begin();
    levels_.push_back({.head = HeadRows(model, at::tensor(at::ArrayRef<int64_t>(distinct), at::kLong)),
                       .columns = at::tensor(at::ArrayRef<int64_t>(own), at::kLong)});
  }
}

Tensor ParallelScores::log_probabilities(const Tensor& states) const {
  Tensor sum;
  for (const Level& level : levels_) {
    const Tensor log_p = at::log_softmax(level.head.logits(states).to(at::kFloat), -1).to(at::kCPU);
    const Tensor own = log_p.index_select(1, level.columns);
    sum = sum.defined() ? sum.add_(own) : own;
  }
  return sum.contiguous();
}

}  // namespace caravan::generate
