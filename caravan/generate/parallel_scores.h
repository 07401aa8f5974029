// Scores of all items at once where an item's codes are independent given the history (RPG, Hou et al. 2025, arXiv
// 2506.05781): log p(item) = sum over levels of log softmax of the level's rows of the head, from one hidden state.
#pragma once

#include <span>
#include <vector>

#include "caravan/generate/head_rows.h"

namespace caravan::generate {

class ParallelScores {
 public:
  ParallelScores() = default;
  // `tokens` [N]: each item's code tokens, as many for every item. A copy of the head's rows: new weights need a new
  // one.
  ParallelScores(models::CausalLm& model, std::span<const std::vector<int32_t>> tokens);
  bool defined() const { return !levels_.empty(); }
  Tensor log_probabilities(const Tensor& states) const;  // [Q, C] -> fp32 [Q, N] on the CPU

 private:
  struct Level {
    HeadRows head;   // of the tokens that the level's codes have
    Tensor columns;  // int64 [N]: each item's among them
  };
  std::vector<Level> levels_;
};

}  // namespace caravan::generate
