// Processors about single tokens: minimum lengths, forced and suppressed tokens, the growing pull towards eos, and
// repair of non-finite scores. Source: transformers 5 logits_process.py. Lengths count prompt and generated tokens.
#include <algorithm>
#include <cmath>
#include <limits>

#include "caravan/base/error.h"
#include "caravan/generate/logits_processor.h"

namespace caravan::generate {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

void ban(std::span<float> scores, std::span<const int32_t> ids) {
  for (int32_t id : ids) {
    if (id >= 0 && id < std::ssize(scores)) scores[id] = kNever;
  }
}

class MinLength final : public LogitsProcessor {
 public:
  MinLength(int64_t length, std::span<const int32_t> eos) : length_(length), eos_(eos.begin(), eos.end()) {}
  void apply(ScoreRow row) const override {
    if (std::ssize(row.ids) < length_) ban(row.scores, eos_);
  }

 private:
  int64_t length_;
  std::vector<int32_t> eos_;
};

class ForcedTokens final : public LogitsProcessor {
 public:
  ForcedTokens(int64_t at_length, std::vector<int32_t> ids) : at_length_(at_length), ids_(std::move(ids)) {}
  void apply(ScoreRow row) const override {
    if (std::ssize(row.ids) != at_length_) return;
    std::fill(row.scores.begin(), row.scores.end(), kNever);
    for (int32_t id : ids_) row.scores[id] = 0;
  }

 private:
  int64_t at_length_;
  std::vector<int32_t> ids_;
};

class SuppressTokens final : public LogitsProcessor {
 public:
  SuppressTokens(std::vector<int32_t> ids, int64_t at_length) : ids_(std::move(ids)), at_length_(at_length) {}
  void apply(ScoreRow row) const override {
    if (at_length_ < 0 || std::ssize(row.ids) == at_length_) ban(row.scores, ids_);
  }

 private:
  std::vector<int32_t> ids_;
  int64_t at_length_;  // -1: always
};

// eos score + |eos score| * (factor^n - 1), n tokens past the start.
class ExponentialDecay final : public LogitsProcessor {
 public:
  ExponentialDecay(int64_t start, double factor, std::span<const int32_t> eos)
      : start_(start), factor_(factor), eos_(eos.begin(), eos.end()) {}
  void apply(ScoreRow row) const override {
    const int64_t past = std::ssize(row.ids) - start_;
    if (past <= 0) return;
    constexpr double kMost = 1e30;  // beyond it scores overflow, which would leave no number to compare
    const auto growth = static_cast<float>(std::min(std::pow(factor_, static_cast<double>(past)) - 1, kMost));
    for (int32_t id : eos_) {
      float& score = row.scores[id];
      if (std::isfinite(score)) score = std::min(score + std::abs(score) * growth, std::numeric_limits<float>::max());
    }
  }

 private:
  int64_t start_;
  double factor_;
  std::vector<int32_t> eos_;
};

class RemoveInvalid final : public LogitsProcessor {
 public:
  void apply(ScoreRow row) const override {
    using Limits = std::numeric_limits<float>;
    for (float& score : row.scores)
      score = std::isnan(score) ? 0.0f : std::clamp(score, Limits::lowest(), Limits::max());
  }
};

}  // namespace

std::unique_ptr<LogitsProcessor> min_length(int64_t length, std::span<const int32_t> eos) {
  return std::make_unique<MinLength>(length, eos);
}

std::unique_ptr<LogitsProcessor> forced_tokens(int64_t at_length, std::vector<int32_t> ids, int64_t vocab_size,
                                               std::string_view name) {
  for (int32_t id : ids) {
    check(id >= 0 && id < vocab_size, ErrorCode::invalid_argument, "{} is {}, but the vocabulary has {} tokens", name,
          id, vocab_size);
  }
  return std::make_unique<ForcedTokens>(at_length, std::move(ids));
}

std::unique_ptr<LogitsProcessor> suppress_tokens(std::vector<int32_t> ids) {
  return std::make_unique<SuppressTokens>(std::move(ids), -1);
}

std::unique_ptr<LogitsProcessor> suppress_tokens_at(std::vector<int32_t> ids, int64_t at_length) {
  return std::make_unique<SuppressTokens>(std::move(ids), at_length);
}

std::unique_ptr<LogitsProcessor> exponential_decay(int64_t start_length, double factor, std::span<const int32_t> eos,
                                                   int64_t vocab_size) {
  for (int32_t id : eos) {
    check(id >= 0 && id < vocab_size, ErrorCode::invalid_argument,
          "exponential_decay_length_penalty: eos token {} is outside the vocabulary of {} tokens", id, vocab_size);
  }
  return std::make_unique<ExponentialDecay>(start_length, factor, eos);
}

std::unique_ptr<LogitsProcessor> remove_invalid() { return std::make_unique<RemoveInvalid>(); }

}  // namespace caravan::generate
