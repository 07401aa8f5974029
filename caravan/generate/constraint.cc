// The trie constraint and the processor that applies any constraint, with transformers' rule for contradictions.
#include "caravan/generate/constraint.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "caravan/base/error.h"
#include "caravan/generate/logits_processor.h"

namespace caravan::generate {

TrieConstraint::TrieConstraint(const std::vector<std::vector<int32_t>>& sequences, std::vector<int32_t> after)
    : nodes_(1), after_(std::move(after)) {
  for (const auto& sequence : sequences) {
    int32_t at = 0;
    for (int32_t id : sequence) {
      const auto [child, added] = nodes_[at].try_emplace(id, static_cast<int32_t>(nodes_.size()));
      at = child->second;
      if (added) nodes_.emplace_back();
    }
  }
}

void TrieConstraint::allow(TokenSpan, TokenSpan generated, std::vector<int32_t>& allowed) const {
  allowed.clear();
  int32_t at = 0;
  for (int32_t id : generated) {
    const auto child = nodes_[at].find(id);
    if (child == nodes_[at].end()) {  // outside the trie: the sequence is over
      allowed = after_;
      return;
    }
    at = child->second;
  }
  for (const auto& [id, child] : nodes_[at]) allowed.push_back(id);
  if (allowed.empty()) allowed = after_;
}

namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

class ConstraintProcessor final : public LogitsProcessor {
 public:
  ConstraintProcessor(std::shared_ptr<Constraint> constraint, int64_t prompt_length)
      : constraint_(std::move(constraint)), prompt_length_(prompt_length) {}

  void apply(ScoreRow row) const override { apply_all({&row, 1}); }

  // Keeps the scores of allowed tokens. Where all allowed scores of all rows are -inf already (other processors ban
  // them), the constraint wins: allowed tokens get score 0.
  void apply_all(std::span<const ScoreRow> rows) const override {
    allowed_.resize(rows.size());
    bool satisfiable = false;
    for (size_t i = 0; i < rows.size(); ++i) {
      const ScoreRow& row = rows[i];
      std::vector<int32_t>& ids = allowed_[i];
      constraint_->allow(row.ids.first(prompt_length_), row.ids.subspan(prompt_length_), ids);
      check(!ids.empty(), ErrorCode::invalid_argument, "the constraint allows no token after {} generated ones",
            row.ids.size() - prompt_length_);
      for (int32_t id : ids) {
        check(id >= 0 && id < std::ssize(row.scores), ErrorCode::invalid_argument,
              "the constraint allows token {}, but the vocabulary has {} tokens", id, row.scores.size());
        satisfiable = satisfiable || row.scores[id] != kNever;
      }
    }
    for (size_t i = 0; i < rows.size(); ++i) keep_only(rows[i].scores, allowed_[i], satisfiable);
  }

 private:
  void keep_only(std::span<float> scores, const std::vector<int32_t>& ids, bool satisfiable) const {
    kept_.clear();
    for (int32_t id : ids) kept_.push_back(satisfiable ? scores[id] : 0.0f);
    std::fill(scores.begin(), scores.end(), kNever);
    for (size_t k = 0; k < ids.size(); ++k) scores[ids[k]] = kept_[k];
  }

  std::shared_ptr<Constraint> constraint_;
  int64_t prompt_length_;
  mutable std::vector<std::vector<int32_t>> allowed_;
  mutable std::vector<float> kept_;
};

}  // namespace

std::unique_ptr<LogitsProcessor> constrain(std::shared_ptr<Constraint> constraint, int64_t prompt_length) {
  return std::make_unique<ConstraintProcessor>(std::move(constraint), prompt_length);
}

}  // namespace caravan::generate
