// Processors that look at what the text already holds: repetition and occurrence penalties, n-gram bans, biases on
// token sequences and bad words. Source: transformers 5 logits_process.py; Keskar et al. 2019 (repetition penalty).
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <unordered_map>

#include "caravan/base/error.h"
#include "caravan/generate/logits_processor.h"

namespace caravan::generate {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

std::vector<int32_t> distinct(std::span<const int32_t> ids) {
  std::vector<int32_t> sorted(ids.begin(), ids.end());
  std::sort(sorted.begin(), sorted.end());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  return sorted;
}

// score < 0 ? score * penalty : score / penalty for every token that occurs.
void penalize(std::span<float> scores, std::span<const int32_t> ids, float penalty) {
  for (int32_t id : ids) {
    if (id < 0 || id >= std::ssize(scores)) continue;  // an embedding may have more rows than the head
    float& score = scores[id];
    score = score < 0 ? score * penalty : score / penalty;
  }
}

class RepetitionPenalty final : public LogitsProcessor {
 public:
  explicit RepetitionPenalty(double penalty) : penalty_(static_cast<float>(penalty)) {}
  void apply(ScoreRow row) const override {
    // Each token once, however often it occurs; the marks make this linear in the text.
    seen_.resize(row.scores.size());
    found_.clear();
    for (int32_t id : row.ids) {
      if (id < 0 || id >= std::ssize(seen_) || seen_[id]) continue;
      seen_[id] = true;
      found_.push_back(id);
    }
    penalize(row.scores, found_, penalty_);
    for (int32_t id : found_) seen_[id] = false;
  }

 private:
  float penalty_;
  mutable std::vector<bool> seen_;
  mutable std::vector<int32_t> found_;
};

class EncoderRepetitionPenalty final : public LogitsProcessor {
 public:
  EncoderRepetitionPenalty(double penalty, std::span<const int32_t> prompt)
      : penalty_(static_cast<float>(1 / penalty)), ids_(distinct(prompt)) {}
  void apply(ScoreRow row) const override { penalize(row.scores, ids_, penalty_); }

 private:
  float penalty_;
  std::vector<int32_t> ids_;
};

// score - frequency * count - presence * (count > 0), counting generated tokens.
class OccurrencePenalty final : public LogitsProcessor {
 public:
  OccurrencePenalty(double presence, double frequency, int64_t prompt_length)
      : presence_(static_cast<float>(presence)),
        frequency_(static_cast<float>(frequency)),
        prompt_length_(prompt_length) {}
  void apply(ScoreRow row) const override {
    counts_.clear();
    for (int32_t id : row.ids.subspan(prompt_length_)) ++counts_[id];
    for (const auto& [id, count] : counts_) {
      if (id < std::ssize(row.scores)) row.scores[id] -= static_cast<float>(count) * frequency_ + presence_;
    }
  }

 private:
  float presence_, frequency_;
  int64_t prompt_length_;
  mutable std::unordered_map<int32_t, int64_t> counts_;
};

// Bans every token that followed `suffix` somewhere in `text`.
void ban_followers(std::span<float> scores, std::span<const int32_t> text, std::span<const int32_t> suffix) {
  const int64_t n = std::ssize(suffix);
  for (int64_t i = 0; i + n < std::ssize(text); ++i) {
    const int32_t next = text[i + n];
    if (next < std::ssize(scores) && std::equal(suffix.begin(), suffix.end(), text.begin() + i)) scores[next] = kNever;
  }
}

class NoRepeatNgram final : public LogitsProcessor {
 public:
  explicit NoRepeatNgram(int64_t size) : size_(size) {}
  void apply(ScoreRow row) const override {
    if (std::ssize(row.ids) < size_) return;
    ban_followers(row.scores, row.ids, row.ids.last(size_ - 1));
  }

 private:
  int64_t size_;
};

class EncoderNoRepeatNgram final : public LogitsProcessor {
 public:
  EncoderNoRepeatNgram(int64_t size, std::span<const int32_t> prompt)
      : size_(size), prompt_(prompt.begin(), prompt.end()) {}
  void apply(ScoreRow row) const override {
    if (std::ssize(row.ids) < size_ - 1) return;
    ban_followers(row.scores, prompt_, row.ids.last(size_ - 1));
  }

 private:
  int64_t size_;
  std::vector<int32_t> prompt_;
};

// Adds the summed biases of all sequences whose beginning the text ends with to the sequence's last token.
class SequenceBias final : public LogitsProcessor {
 public:
  explicit SequenceBias(std::vector<TokenBias> biases) : biases_(std::move(biases)) {
    // Single tokens first: transformers' order of addition.
    std::stable_sort(biases_.begin(), biases_.end(), [](const TokenBias& a, const TokenBias& b) {
      return (a.first.size() == 1) > (b.first.size() == 1);
    });
  }
  void apply(ScoreRow row) const override {
    sums_.clear();
    for (const auto& [ids, bias] : biases_) {
      const size_t begin = ids.size() - 1;
      if (begin > row.ids.size()) continue;
      if (std::equal(ids.begin(), ids.end() - 1, row.ids.end() - begin)) sums_[ids.back()] += static_cast<float>(bias);
    }
    for (const auto& [id, bias] : sums_) row.scores[id] += bias;
  }

 private:
  std::vector<TokenBias> biases_;
  mutable std::unordered_map<int32_t, float> sums_;
};

}  // namespace

std::unique_ptr<LogitsProcessor> repetition_penalty(double penalty) {
  return std::make_unique<RepetitionPenalty>(penalty);
}

std::unique_ptr<LogitsProcessor> encoder_repetition_penalty(double penalty, std::span<const int32_t> prompt) {
  return std::make_unique<EncoderRepetitionPenalty>(penalty, prompt);
}

std::unique_ptr<LogitsProcessor> occurrence_penalty(double presence, double frequency, int64_t prompt_length) {
  return std::make_unique<OccurrencePenalty>(presence, frequency, prompt_length);
}

std::unique_ptr<LogitsProcessor> no_repeat_ngram(int64_t size) { return std::make_unique<NoRepeatNgram>(size); }

std::unique_ptr<LogitsProcessor> encoder_no_repeat_ngram(int64_t size, std::span<const int32_t> prompt) {
  return std::make_unique<EncoderNoRepeatNgram>(size, prompt);
}

std::unique_ptr<LogitsProcessor> sequence_bias(std::vector<TokenBias> biases, int64_t vocab_size,
                                               std::string_view name) {
  std::vector<TokenBias> unique;  // a sequence that occurs twice counts with its last bias, as in a dictionary
  std::map<std::vector<int32_t>, size_t> place;
  for (TokenBias& bias : biases) {
    for (int32_t id : bias.first) {
      check(id < vocab_size, ErrorCode::invalid_argument, "{} holds token {}, but the vocabulary has {} tokens", name,
            id, vocab_size);
    }
    const auto [known, is_new] = place.try_emplace(bias.first, unique.size());
    if (is_new) {
      unique.push_back(std::move(bias));
    } else {
      unique[known->second].second = bias.second;
    }
  }
  return std::make_unique<SequenceBias>(std::move(unique));
}

std::unique_ptr<LogitsProcessor> bad_words(const std::vector<std::vector<int32_t>>& words, std::span<const int32_t> eos,
                                           int64_t vocab_size) {
  std::vector<TokenBias> biases;
  for (const auto& word : words) {
    const bool is_eos = word.size() == 1 && std::find(eos.begin(), eos.end(), word[0]) != eos.end();
    if (!word.empty() && !is_eos) biases.emplace_back(word, kNever);
  }
  return sequence_bias(std::move(biases), vocab_size, "bad_words_ids");
}

}  // namespace caravan::generate
