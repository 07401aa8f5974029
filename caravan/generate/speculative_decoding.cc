// Speculative decoding: cheap guesses of the next tokens, checked by the model in one call. Guesses come from a draft
// model or from the text itself (prompt lookup: what followed the last n-gram before). The output is exactly that of
// the plain strategy: greedy accepts a guess where it is the argmax; sampling accepts guess x with min(1, p(x) / q(x))
// and draws from max(p - q, 0) after a rejection (Leviathan et al. 2023; Chen et al. 2023), which keeps the
// distribution p. A lookup guess has q(x) = 1. How many guesses a round makes, and whether any, see guess_length.h.
#include <torch/torch.h>

#include <algorithm>
#include <limits>

#include "caravan/base/error.h"
#include "caravan/generate/guess_length.h"
#include "caravan/generate/random.h"
#include "caravan/generate/strategy.h"

namespace caravan::generate {
namespace {

struct Guess {
  std::vector<int32_t> ids;
  std::vector<Tensor> q;  // [V] probabilities that each was drawn from; undefined: certain
};

ScoreRow row_of(const Tensor& scores, int64_t r, std::span<const int32_t> ids) {
  return {{scores.mutable_data_ptr<float>() + r * scores.size(1), static_cast<size_t>(scores.size(1))}, ids};
}

int32_t most_probable(const Tensor& scores) { return static_cast<int32_t>(scores.argmax().item<int64_t>()); }

std::span<const float> span_of(const Tensor& row) {
  return {row.const_data_ptr<float>(), static_cast<size_t>(row.numel())};
}

class Proposer {
 public:
  virtual ~Proposer() = default;
  virtual Guess propose(const std::vector<int32_t>& ids, int64_t limit, Random& random) = 0;
};

// What followed the latest occurrence of the text's last n tokens, longest n first.
class PromptLookup final : public Proposer {
 public:
  explicit PromptLookup(const GenerationConfig& config)
      : count_(*config.prompt_lookup_num_tokens), longest_(config.max_matching_ngram_size.value_or(2)) {}

  Guess propose(const std::vector<int32_t>& ids, int64_t limit, Random&) override {
    const int64_t length = std::ssize(ids);
    for (int64_t n = std::min(longest_, length - 1); n >= 1; --n) {
      for (int64_t at = length - n - 1; at >= 0; --at) {
        if (!std::equal(ids.end() - n, ids.end(), ids.begin() + at)) continue;
        const int64_t from = at + n, take = std::min({count_, limit, length - from});
        if (take <= 0) return {};
        return {.ids = {ids.begin() + from, ids.begin() + from + take},
                .q = std::vector<Tensor>(static_cast<size_t>(take))};
      }
    }
    return {};
  }

 private:
  int64_t count_, longest_;
};

// A smaller model with the same vocabulary, decoding by the same rules (processors, greedy or sampling).
class DraftModel final : public Proposer {
 public:
  DraftModel(const Task& task, ModelRunner& runner)
      : task_(&task), runner_(&runner), sequence_(runner.cache().new_sequence()) {}

  Guess propose(const std::vector<int32_t>& ids, int64_t limit, Random& random) override {
    Guess guess;
    std::vector<int32_t> text = ids;
    forget_rejected(text);
    const GenerationConfig& c = task_->config();
    while (std::ssize(guess.ids) < std::min(limit, c.num_assistant_tokens)) {
      const Tensor scores = next_scores(text);
      const ScoreRow row = row_of(scores, 0, text);
      task_->processors.apply({&row, 1});
      const Tensor q = at::softmax(scores[0], 0);
      const int32_t id = c.do_sample ? draw(span_of(q), random) : most_probable(q);
      guess.ids.push_back(id);
      guess.q.push_back(q);
      text.push_back(id);
      if (task_->stopping->is_eos(id)) break;
      if (q.const_data_ptr<float>()[id] < c.assistant_confidence_threshold) break;
    }
    return guess;
  }

 private:
  // Drops the guesses that the model did not take from the draft's cache.
  void forget_rejected(const std::vector<int32_t>& text) {
    const size_t n = std::min(common_.size(), text.size());
    const auto same = std::mismatch(common_.begin(), common_.begin() + n, text.begin()).first - common_.begin();
    common_.resize(same);
    sequence_.truncate(std::min<int64_t>(sequence_.length(), same));
  }

  Tensor next_scores(const std::vector<int32_t>& text) {
    constexpr int64_t kChunk = 512;
    Outputs outputs;
    while (sequence_.length() < std::ssize(text)) {
      const int64_t from = sequence_.length(), to = std::min<int64_t>(from + kChunk, std::ssize(text));
      Feed feed{.cache = &sequence_, .ids = {text.begin() + from, text.begin() + to}, .rows = to == std::ssize(text)};
      outputs = runner_->run({&feed, 1});
    }
    common_ = text;
    return outputs.logits;
  }

  const Task* task_;
  ModelRunner* runner_;
  nn::CacheSequence sequence_;
  std::vector<int32_t> common_;  // the tokens in the draft's cache
};

class SpeculativeDecoding final : public Strategy {
 public:
  SpeculativeDecoding(Task& task, const Draft& draft)
      : task_(&task),
        length_(most_guesses(task.config(), draft), draft.cost),
        random_(task.config().seed, 0),
        stream_(task.request.tokenizer, task.request.skip_special_tokens, task.config().stop_strings) {
    branch_.ids = task.request.prompt;
    if (draft.runner != nullptr) {
      check(!task.request.prompt_embeddings.defined(), ErrorCode::unsupported,
            "speculative decoding with a draft model needs a prompt of token ids");
      proposer_ = std::make_unique<DraftModel>(task, *draft.runner);
    } else {
      proposer_ = std::make_unique<PromptLookup>(task.config());
    }
  }

  void begin(nn::CacheSequence prompt) override { branch_.cache = std::move(prompt); }

  std::vector<Feed> feeds() override {
    // One token follows the accepted guesses in any case.
    const int64_t room = task_->max_length - std::ssize(branch_.ids) - 1, wanted = wanted_guesses();
    guess_ = wanted > 0 ? proposer_->propose(branch_.ids, std::min(room, wanted), random_) : Guess();
    Feed feed{.cache = &branch_.cache, .ids = {branch_.ids.back()}};
    feed.ids.insert(feed.ids.end(), guess_.ids.begin(), guess_.ids.end());
    feed.rows = std::ssize(feed.ids);
    std::vector<Feed> feeds;
    feeds.push_back(std::move(feed));
    return feeds;
  }

  // logits [g + 1, V]: row i follows the text and the first i guesses.
  void consume(Outputs outputs) override {
    const Tensor& scores = outputs.logits;
    task_->recorder.see_logits(scores);
    const int64_t guesses = std::ssize(guess_.ids), accepted_before = task_->accepted;
    task_->proposed += guesses;
    for (int64_t i = 0; i <= guesses && !end_; ++i) {
      const ScoreRow row = row_of(scores, i, branch_.ids);
      task_->processors.apply({&row, 1});
      task_->recorder.see_scores(scores);
      const bool guessed = i < guesses;
      const int32_t id = task_->config().do_sample ? verify(scores[i], i) : best_of(scores[i]);
      const bool accepted = guessed && id == guess_.ids[i];
      task_->accepted += accepted;
      append(i, id);
      if (!accepted) break;
    }
    length_.see(guesses, task_->accepted - accepted_before);
    guess_ = {};
    branch_.cache.truncate(std::ssize(branch_.ids) - task_->prompt_length + task_->prompt_rows - 1);
  }

  bool done() const override { return end_.has_value(); }

  std::vector<GeneratedSequence> results() override {
    std::vector<GeneratedSequence> out;
    out.push_back(to_result(*task_, branch_.ids, branch_.details, end_.value_or(FinishReason::cancelled)));
    out.back().text = stream_.text();
    return out;
  }

 private:
  static int64_t most_guesses(const GenerationConfig& c, const Draft& draft) {
    return draft.runner != nullptr ? c.num_assistant_tokens : *c.prompt_lookup_num_tokens;
  }

  int64_t wanted_guesses() {
    const bool constant = task_->config().num_assistant_tokens_schedule == "constant";
    return constant ? std::numeric_limits<int64_t>::max() : length_.next();
  }

  static int32_t best_of(const Tensor& scores) {
    const int32_t id = most_probable(scores);
    check_best_score(scores.const_data_ptr<float>()[id]);
    return id;
  }

  // A token distributed as p = softmax(scores), which is guess i where that is accepted.
  int32_t verify(const Tensor& scores, int64_t i) {
    Tensor p = at::softmax(scores, 0);
    if (i == std::ssize(guess_.ids)) return draw(span_of(p), random_);
    const int32_t id = guess_.ids[i];
    const Tensor& q = guess_.q[i];
    const double p_id = p.const_data_ptr<float>()[id];
    const double q_id = q.defined() ? q.const_data_ptr<float>()[id] : 1.0;
    if (random_.uniform() * q_id < p_id) return id;
    Tensor rest;
    if (q.defined()) {
      rest = (p - q).clamp_min(0);
    } else {
      rest = p.clone();
      rest.mutable_data_ptr<float>()[id] = 0;
    }
    // Rounding may leave nothing where p and q are equal: then p itself is right.
    return draw(span_of(rest.sum().item<float>() > 0 ? rest : p), random_);
  }

  void append(int64_t row, int32_t id) {
    branch_.details.push_back(task_->recorder.record(row, id));
    branch_.ids.push_back(id);
    end_ = task_->stopping->check(branch_.ids);
    TokenEvent event{.id = id, .text = stream_.push(id, end_), .last = end_.has_value()};
    event.reason = end_.value_or(FinishReason::length);
    if (task_->request.on_token && !task_->request.on_token(event) && !end_) end_ = FinishReason::cancelled;
  }

  Task* task_;
  std::unique_ptr<Proposer> proposer_;
  GuessLength length_;
  Random random_;
  TextStream stream_;
  Branch branch_;
  Guess guess_;
  std::optional<FinishReason> end_;
};

}  // namespace

std::unique_ptr<Strategy> make_speculative_decoding(Task& task, const Draft& draft) {
  return std::make_unique<SpeculativeDecoding>(task, draft);
}

}  // namespace caravan::generate
