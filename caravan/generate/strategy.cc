// Lengths follow transformers' _prepare_generated_length: max_new_tokens wins over max_length, the default is 20 new
// tokens within the model's positions.
#include "caravan/generate/strategy.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "caravan/base/error.h"

namespace caravan::generate {
namespace {

int64_t longest(const GenerationConfig& config, int64_t length, int64_t rows, int64_t positions) {
  if (config.max_new_tokens) return length + *config.max_new_tokens;
  const int64_t without_ids = rows - length;  // max_length counts an inputs_embeds prompt, the processors do not
  if (config.max_length) {
    check(*config.max_length > rows, ErrorCode::invalid_argument,
          "max_length is {}, but the prompt has {} tokens already: raise it or set max_new_tokens", *config.max_length,
          rows);
    return *config.max_length - without_ids;
  }
  const int64_t limit = positions > rows ? positions - without_ids : INT64_MAX;
  return std::min(length + kDefaultNewTokens, limit);
}

}  // namespace

Recorder::Recorder(const GenerateRequest& request)
    : top_(request.top_logprobs),
      logprobs_(request.logprobs || request.top_logprobs > 0),
      keep_scores_(request.scores),
      keep_logits_(request.logits) {}

void Recorder::see_logits(const Tensor& logits) {
  if (logprobs_) log_probabilities_ = at::log_softmax(logits, -1);
  if (keep_logits_) logits_ = logits.clone();
}

void Recorder::see_scores(const Tensor& scores) {
  if (keep_scores_) scores_ = scores.clone();
}

std::shared_ptr<const TokenDetail> Recorder::record(int64_t row, int32_t id) const {
  if (!logprobs_ && !keep_scores_ && !keep_logits_) return nullptr;
  auto detail = std::make_shared<TokenDetail>();
  if (keep_scores_) detail->scores = scores_[row];
  if (keep_logits_) detail->logits = logits_[row];
  if (logprobs_) {
    const Tensor all = log_probabilities_[row];
    detail->logprob = all.const_data_ptr<float>()[id];
    if (top_ > 0) {
      const auto [values, indices] = all.topk(std::min(top_, all.size(0)));
      for (int64_t i = 0; i < values.size(0); ++i) {
        detail->top.push_back({.id = static_cast<int32_t>(indices.const_data_ptr<int64_t>()[i]),
                               .logprob = values.const_data_ptr<float>()[i]});
      }
    }
  }
  return detail;
}

Task::Task(GenerateRequest wanted, int64_t vocab, int64_t max_position_embeddings)
    : request(std::move(wanted)), vocab_size(vocab), recorder(request) {
  const GenerationConfig& c = request.config;
  c.validate();
  prompt_length = std::ssize(request.prompt);
  prompt_rows = request.prompt_embeddings.defined() ? request.prompt_embeddings.size(0) : prompt_length;
  check(prompt_rows > 0, ErrorCode::invalid_argument, "the prompt is empty: give at least one token (usually bos)");
  check(request.top_logprobs >= 0 && request.top_logprobs <= vocab, ErrorCode::invalid_argument,
        "top_logprobs must be in 0 .. {}, got {}", vocab, request.top_logprobs);
  max_length = longest(c, prompt_length, prompt_rows, max_position_embeddings);
  min_length = c.min_new_tokens ? prompt_length + *c.min_new_tokens
                                : std::max<int64_t>(c.min_length - (prompt_rows - prompt_length), 0);
  processors = make_processors(c, {.ids = request.prompt, .max_length = max_length, .min_length = min_length}, vocab,
                               request.constraint);
  stopping = std::make_unique<Stopping>(c, max_length, request.tokenizer);
}

int32_t Task::pad() const {
  if (config().pad_token_id) return *config().pad_token_id;
  return config().eos_token_id.empty() ? -1 : config().eos_token_id.front();
}

void check_best_score(float score) {
  check(!std::isnan(score), ErrorCode::invalid_argument,
        "no token can be chosen: the model gave scores that are no numbers (broken weights, or a dtype too narrow for "
        "them; remove_invalid_values goes on all the same)");
  check(score > -std::numeric_limits<float>::infinity(), ErrorCode::invalid_argument,
        "no token can be chosen: the options ban every token here");
}

GeneratedSequence to_result(const Task& task, const std::vector<int32_t>& ids,
                            const std::vector<std::shared_ptr<const TokenDetail>>& details, FinishReason reason) {
  GeneratedSequence out;
  out.ids.assign(ids.begin() + task.prompt_length, ids.end());
  out.reason = reason;
  std::vector<Tensor> scores, logits;
  const bool logprobs = task.request.logprobs || task.request.top_logprobs > 0;
  for (const auto& detail : details) {
    if (detail == nullptr) continue;
    if (logprobs) out.logprobs.push_back(detail->logprob);
    if (logprobs) out.score += detail->logprob;
    if (task.request.top_logprobs > 0) out.top_logprobs.push_back(detail->top);
    if (detail->scores.defined()) scores.push_back(detail->scores);
    if (detail->logits.defined()) logits.push_back(detail->logits);
  }
  if (!scores.empty()) out.scores = at::stack(scores);
  if (!logits.empty()) out.logits = at::stack(logits);
  return out;
}

void announce(const Task& task, GeneratedSequence& sequence, int64_t index) {
  const GenerateRequest& request = task.request;
  TextStream stream(request.tokenizer, request.skip_special_tokens, request.config.stop_strings);
  for (size_t i = 0; i < sequence.ids.size(); ++i) {
    const bool last = i + 1 == sequence.ids.size();
    TokenEvent event{.sequence = index, .id = sequence.ids[i], .last = last, .reason = sequence.reason};
    event.text = stream.push(event.id, last ? std::optional(sequence.reason) : std::nullopt);
    if (request.on_token) request.on_token(event);
  }
  sequence.text = stream.text();
}

std::unique_ptr<Strategy> make_strategy(Task& task, const Draft& draft) {
  switch (task.config().strategy(draft.runner != nullptr)) {
    case StrategyKind::beam_groups:
      return make_group_beam_search(task);
    case StrategyKind::beams:
      return make_beam_search(task);
    case StrategyKind::contrastive:
      return make_contrastive_search(task);
    case StrategyKind::speculative:
      return make_speculative_decoding(task, draft);
    case StrategyKind::sampling:
      return make_sampling(task);
    case StrategyKind::greedy:
      break;
  }
  return make_greedy_search(task);
}

}  // namespace caravan::generate
