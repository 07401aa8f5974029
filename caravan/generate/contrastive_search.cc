// Contrastive search: of the top_k most probable tokens, the one that maximizes
//   (1 - alpha) p(token) - alpha max_j cos(h_token, h_j)      over the final hidden states h_j of all earlier tokens,
// so that text does not repeat itself (Su et al. 2022). Source: transformers 4.46 _contrastive_search. The candidates
// are forks of one sequence, run as one batch.
#include <torch/torch.h>

#include "caravan/base/error.h"
#include "caravan/generate/strategy.h"

namespace caravan::generate {
namespace {

class ContrastiveSearch final : public Strategy {
 public:
  explicit ContrastiveSearch(Task& task)
      : task_(&task), stream_(task.request.tokenizer, task.request.skip_special_tokens, task.config().stop_strings) {
    check(task.config().num_return_sequences == 1, ErrorCode::invalid_argument,
          "contrastive search has one answer: num_return_sequences must be 1");
    branch_.ids = task.request.prompt;
  }

  bool wants_prompt_hidden() const override { return true; }
  void begin(nn::CacheSequence prompt) override { branch_.cache = std::move(prompt); }

  std::vector<Feed> feeds() override {
    candidates_.clear();
    const int64_t k = top_ids_.size(0);
    for (int64_t i = 0; i + 1 < k; ++i) candidates_.push_back(branch_.cache.fork());
    candidates_.push_back(std::move(branch_.cache));
    std::vector<Feed> feeds;
    for (int64_t i = 0; i < k; ++i) {
      feeds.push_back({.cache = &candidates_[i], .ids = {candidate_id(i)}, .hidden = true});
    }
    return feeds;
  }

  void consume(Outputs outputs) override {
    const Tensor directions = outputs.hidden / outputs.hidden.norm(2, {-1}, true);
    if (!context_.defined()) {
      context_ = directions;  // [L, C] of the prompt
      recall(outputs.logits);
      return;
    }
    // outputs: one row a candidate.
    const double alpha = *task_->config().penalty_alpha;
    const Tensor penalty = at::matmul(directions, context_.t()).amax(-1);  // [k]
    const int64_t best = ((1.0 - alpha) * top_probabilities_ - alpha * penalty).argmax().item<int64_t>();
    const int32_t id = candidate_id(best);
    branch_.cache = std::move(candidates_[best]);
    candidates_.clear();
    append(id);
    if (end_) return;
    context_ = at::cat({context_, directions.narrow(0, best, 1)});
    recall(outputs.logits.narrow(0, best, 1));
  }

  bool done() const override { return end_.has_value(); }

  std::vector<GeneratedSequence> results() override {
    std::vector<GeneratedSequence> out;
    out.push_back(to_result(*task_, branch_.ids, branch_.details, end_.value_or(FinishReason::cancelled)));
    out.back().text = stream_.text();
    return out;
  }

 private:
  int32_t candidate_id(int64_t i) const { return static_cast<int32_t>(top_ids_.const_data_ptr<int64_t>()[i]); }

  // The top_k candidates after the newest token. logits [1, V]
  void recall(const Tensor& logits) {
    const Tensor scores = logits.contiguous();
    task_->recorder.see_logits(scores);
    const ScoreRow row{{scores.mutable_data_ptr<float>(), static_cast<size_t>(scores.size(1))}, branch_.ids};
    task_->processors.apply({&row, 1});
    task_->recorder.see_scores(scores);
    check_best_score(scores.max().item<float>());
    const int64_t k = std::min(task_->config().top_k, scores.size(1));
    std::tie(top_probabilities_, top_ids_) = at::softmax(scores[0], 0).topk(k);
  }

  void append(int32_t id) {
    branch_.details.push_back(task_->recorder.record(0, id));
    branch_.ids.push_back(id);
    end_ = task_->stopping->check(branch_.ids);
    TokenEvent event{.id = id, .text = stream_.push(id, end_), .last = end_.has_value()};
    event.reason = end_.value_or(FinishReason::length);
    if (task_->request.on_token && !task_->request.on_token(event) && !end_) end_ = FinishReason::cancelled;
  }

  Task* task_;
  TextStream stream_;
  Branch branch_;
  std::vector<nn::CacheSequence> candidates_;
  Tensor context_;                      // [L, C] unit vectors of all tokens so far
  Tensor top_probabilities_, top_ids_;  // [k]
  std::optional<FinishReason> end_;
};

}  // namespace

std::unique_ptr<Strategy> make_contrastive_search(Task& task) { return std::make_unique<ContrastiveSearch>(task); }

}  // namespace caravan::generate
