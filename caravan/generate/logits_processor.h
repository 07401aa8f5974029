// Logits processors: what changes the next token's scores between the model and the choice of a token.
//
//   ProcessorList list = make_processors(config, prompt, vocab_size);
//   list.apply({{row, ids}});                                  // in place, on fp32 rows of [V]
//
// Order and arithmetic are those of transformers 5's generate(); presence and frequency penalties (OpenAI's definition,
// on generated tokens only) follow the repetition penalty. Rows of one call belong to one prompt.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "caravan/generate/config.h"
#include "caravan/generate/constraint.h"

namespace caravan::generate {

struct ScoreRow {
  std::span<float> scores;       // [V]
  std::span<const int32_t> ids;  // prompt and generated tokens
};

class LogitsProcessor {
 public:
  virtual ~LogitsProcessor() = default;
  virtual void apply(ScoreRow row) const = 0;
  // All running sequences of a prompt at once, for processors whose rows depend on each other.
  virtual void apply_all(std::span<const ScoreRow> rows) const {
    for (const ScoreRow& row : rows) apply(row);
  }
};

class ProcessorList {
 public:
  void add(std::unique_ptr<LogitsProcessor> processor) { items_.push_back(std::move(processor)); }
  void insert(size_t at, std::unique_ptr<LogitsProcessor> processor) {
    items_.insert(items_.begin() + at, std::move(processor));
  }
  void apply(std::span<const ScoreRow> rows) const {
    for (const auto& item : items_) item->apply_all(rows);
  }
  bool empty() const { return items_.empty(); }
  size_t size() const { return items_.size(); }

 private:
  std::vector<std::unique_ptr<LogitsProcessor>> items_;
};

// The prompt as processors count it: `ids` of length `length`; an inputs_embeds prompt without ids has length 0.
struct PromptView {
  std::span<const int32_t> ids;
  int64_t max_length = 0;  // prompt and new tokens, as processors count them
  int64_t min_length = 0;
};

ProcessorList make_processors(const GenerationConfig& config, const PromptView& prompt, int64_t vocab_size,
                              std::shared_ptr<Constraint> constraint = nullptr);

// The kinds, by file. penalties.cc:
std::unique_ptr<LogitsProcessor> repetition_penalty(double penalty);
std::unique_ptr<LogitsProcessor> encoder_repetition_penalty(double penalty, std::span<const int32_t> prompt);
std::unique_ptr<LogitsProcessor> occurrence_penalty(double presence, double frequency, int64_t prompt_length);
std::unique_ptr<LogitsProcessor> no_repeat_ngram(int64_t size);
std::unique_ptr<LogitsProcessor> encoder_no_repeat_ngram(int64_t size, std::span<const int32_t> prompt);
std::unique_ptr<LogitsProcessor> sequence_bias(std::vector<TokenBias> biases, int64_t vocab_size,
                                               std::string_view name);
std::unique_ptr<LogitsProcessor> bad_words(const std::vector<std::vector<int32_t>>& words, std::span<const int32_t> eos,
                                           int64_t vocab_size);
// token_rules.cc:
std::unique_ptr<LogitsProcessor> min_length(int64_t length, std::span<const int32_t> eos);
std::unique_ptr<LogitsProcessor> forced_tokens(int64_t at_length, std::vector<int32_t> ids, int64_t vocab_size,
                                               std::string_view name);
std::unique_ptr<LogitsProcessor> suppress_tokens(std::vector<int32_t> ids);
std::unique_ptr<LogitsProcessor> suppress_tokens_at(std::vector<int32_t> ids, int64_t at_length);
std::unique_ptr<LogitsProcessor> exponential_decay(int64_t start_length, double factor, std::span<const int32_t> eos,
                                                   int64_t vocab_size);
std::unique_ptr<LogitsProcessor> remove_invalid();
std::unique_ptr<LogitsProcessor> constrain(std::shared_ptr<Constraint> constraint, int64_t prompt_length);
// sampling_filters.cc; `keep`: tokens that survive in any case (transformers' min_tokens_to_keep):
std::unique_ptr<LogitsProcessor> temperature(double temperature);
std::unique_ptr<LogitsProcessor> top_h(double top_h);
std::unique_ptr<LogitsProcessor> top_k(int64_t k, int64_t keep);
std::unique_ptr<LogitsProcessor> top_p(double p, int64_t keep);
std::unique_ptr<LogitsProcessor> min_p(double p, int64_t keep);
std::unique_ptr<LogitsProcessor> typical_p(double mass, int64_t keep);
std::unique_ptr<LogitsProcessor> epsilon_cutoff(double epsilon, int64_t keep);
std::unique_ptr<LogitsProcessor> eta_cutoff(double epsilon, int64_t keep);
std::unique_ptr<LogitsProcessor> renormalize();

}  // namespace caravan::generate
