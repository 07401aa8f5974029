// Beam search, deterministic or sampled: keeps the num_beams best unfinished continuations, collects finished ones by
// sum(log p) / length^length_penalty. Source: transformers 5 generation/utils.py, _beam_search, step by step (its -1e9
// bookkeeping included, which decides what is returned where a prompt has too few finished sequences). Each prompt
// stops by itself, so its result does not depend on the others of its batch.
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "caravan/generate/candidates.h"

namespace caravan::generate {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

using Details = std::vector<std::shared_ptr<const TokenDetail>>;

class BeamSearch final : public Strategy {
 public:
  explicit BeamSearch(Task& task)
      : task_(&task), beams_(task.config().num_beams), random_(task.config().seed, 0), caches_(beams_) {
    const int64_t eos = std::ssize(task.config().eos_token_id);
    candidates_ = std::max<int64_t>(2, 1 + eos) * beams_;
    ids_.assign(beams_, task.request.prompt);
    details_.resize(beams_);
    scores_.assign(beams_, kMinusBillion);  // after the prompt all beams are equal: only the first one counts
    scores_[0] = 0;
    finished_.assign(beams_, {.ids = task.request.prompt});
  }

  void begin(nn::CacheSequence prompt) override { caches_[0] = std::move(prompt); }

  std::vector<Feed> feeds() override {
    std::vector<Feed> feeds;
    for (int64_t b = 0; b < beams_; ++b) feeds.push_back({.cache = &caches_[b], .ids = {ids_[b].back()}});
    return feeds;
  }

  void consume(Outputs outputs) override {
    const int64_t rows = outputs.logits.size(0);  // 1 after the prompt, then one a beam
    const std::vector<std::span<const int32_t>> row_ids(ids_.begin(), ids_.begin() + rows);
    const Tensor log_p = processed_log_probabilities(*task_, outputs.logits, row_ids);
    const std::vector<Candidate> top = task_->config().do_sample
                                           ? drawn_candidates(log_p, scores_, candidates_, random_)
                                           : best_candidates(log_p, scores_, candidates_);
    if (!(top.front().score > kNever)) return stop_without_candidates(top.front().score);
    std::vector<std::optional<FinishReason>> ends;
    for (const Candidate& c : top) ends.push_back(end_of(c));
    Details details;
    for (const Candidate& c : top) details.push_back(task_->recorder.record(rows == 1 ? 0 : c.beam, c.token));

    collect_finished(top, ends, details);
    continue_beams(top, ends, details, rows == 1);
    improvable_ = improvable_ && improvement_possible();
    const bool full = task_->config().early_stopping == EarlyStopping::yes && all_finished();
    const bool stuck = std::all_of(ends.begin(), ends.end(), [](const auto& end) { return end.has_value(); });
    done_ = !improvable_ || full || stuck;
  }

  bool done() const override { return done_; }

  std::vector<GeneratedSequence> results() override {
    std::vector<GeneratedSequence> out;
    if (!done_) add_running();
    for (int64_t i = 0; i < task_->config().num_return_sequences; ++i) {
      const Hypothesis& best = finished_[i];
      GeneratedSequence sequence = to_result(*task_, best.ids, best.details, best.reason);
      sequence.score = best.score;
      announce(*task_, sequence, i);
      out.push_back(std::move(sequence));
    }
    return out;
  }

 private:
  struct Hypothesis {
    std::vector<int32_t> ids;
    Details details = {};
    float score = kMinusBillion;
    bool finished = false;
    FinishReason reason = FinishReason::length;
  };

  int64_t generated() const { return std::ssize(ids_[0]) - task_->prompt_length; }
  float length_norm(int64_t length) const {
    return static_cast<float>(std::pow(static_cast<double>(length), task_->config().length_penalty));
  }
  bool all_finished() const {
    return std::all_of(finished_.begin(), finished_.end(), [](const Hypothesis& h) { return h.finished; });
  }

  std::optional<FinishReason> end_of(const Candidate& c) {
    ids_[c.beam].push_back(c.token);
    const auto end = task_->stopping->check(ids_[c.beam]);
    ids_[c.beam].pop_back();
    return end;
  }

  // No beam can go on: what is finished is the answer.
  void stop_without_candidates(float best_score) {
    const bool any = std::any_of(finished_.begin(), finished_.end(), [](const Hypothesis& h) { return h.finished; });
    if (!any || std::isnan(best_score)) check_best_score(best_score);
    done_ = true;
  }

  // Merges newly finished candidates (among the first num_beams only) into the num_beams best finished ones.
  void collect_finished(const std::vector<Candidate>& top, const std::vector<std::optional<FinishReason>>& ends,
                        const Details& details) {
    const bool full = task_->config().early_stopping == EarlyStopping::yes && all_finished();
    const float norm = length_norm(generated() + 1);
    std::vector<float> merged;
    for (const Hypothesis& h : finished_) merged.push_back(h.score);
    for (size_t k = 0; k < top.size(); ++k) {
      float score = top[k].score / norm;
      if (full) score += kMinusBillion;
      if (!improvable_) score += kMinusBillion;
      if (!just_finished(k, ends)) score += kMinusBillion;
      merged.push_back(score);
    }
    std::vector<Hypothesis> next;
    for (int64_t index : largest(merged, beams_)) {
      const int64_t k = index - beams_;
      next.push_back(k < 0 ? finished_[index] : hypothesis(top[k], details[k], ends[k]));
      next.back().score = merged[index];
      if (k >= 0) next.back().finished = just_finished(k, ends);
    }
    finished_ = std::move(next);
  }

  bool just_finished(int64_t k, const std::vector<std::optional<FinishReason>>& ends) const {
    return k < beams_ && ends[k].has_value();
  }

  Hypothesis hypothesis(const Candidate& c, const std::shared_ptr<const TokenDetail>& detail,
                        std::optional<FinishReason> end) const {
    Hypothesis h{.ids = ids_[c.beam], .details = details_[c.beam], .reason = end.value_or(FinishReason::length)};
    h.ids.push_back(c.token);
    h.details.push_back(detail);
    return h;
  }

  // The num_beams best candidates that are not finished run on.
  void continue_beams(const std::vector<Candidate>& top, const std::vector<std::optional<FinishReason>>& ends,
                      const Details& details, bool after_prompt) {
    std::vector<float> running;
    for (size_t k = 0; k < top.size(); ++k) running.push_back(top[k].score + (ends[k] ? kMinusBillion : 0.0f));
    std::vector<std::vector<int32_t>> next_ids;
    std::vector<Details> next_details;
    std::vector<int64_t> parent_of;
    const std::vector<int64_t> chosen = largest(running, beams_);
    for (int64_t i = 0; i < beams_; ++i) {
      Hypothesis h = hypothesis(top[chosen[i]], details[chosen[i]], std::nullopt);
      next_ids.push_back(std::move(h.ids));
      next_details.push_back(std::move(h.details));
      parent_of.push_back(after_prompt ? 0 : top[chosen[i]].beam);
      scores_[i] = running[chosen[i]];
    }
    ids_ = std::move(next_ids);
    details_ = std::move(next_details);
    caches_ = inherit(std::move(caches_), parent_of);
  }

  // Could the best running beam still beat the worst finished one? See transformers' _check_early_stop_heuristic.
  bool improvement_possible() const {
    const GenerationConfig& c = task_->config();
    const bool to_the_end = c.early_stopping == EarlyStopping::never && c.length_penalty > 0;
    const float best = scores_[0] / length_norm(to_the_end ? task_->max_new_tokens() : generated());
    const float worst = std::min_element(finished_.begin(), finished_.end(), [](const auto& a, const auto& b) {
                          return a.score < b.score;
                        })->score;
    return std::any_of(finished_.begin(), finished_.end(),
                       [&](const Hypothesis& h) { return best > (h.finished ? worst : kMinusBillion); });
  }

  // A cancelled search answers with its running beams where it has too few finished sequences.
  void add_running() {
    for (int64_t b = 0; b < beams_ && generated() > 0; ++b) {
      auto open = std::find_if(finished_.begin(), finished_.end(), [](const Hypothesis& h) { return !h.finished; });
      if (open == finished_.end()) break;
      *open = {.ids = ids_[b],
               .details = details_[b],
               .score = scores_[b] / length_norm(generated()),
               .finished = true,
               .reason = FinishReason::cancelled};
    }
    for (Hypothesis& h : finished_) {
      if (!h.finished) h.reason = FinishReason::cancelled;
    }
  }

  Task* task_;
  int64_t beams_, candidates_ = 0;
  Random random_;
  std::vector<nn::CacheSequence> caches_;  // [beams]; only the first one after the prompt
  std::vector<std::vector<int32_t>> ids_;  // [beams] prompt and generated
  std::vector<Details> details_;           // [beams]
  std::vector<float> scores_;              // [beams] sums of log probabilities, best first
  std::vector<Hypothesis> finished_;       // [beams], best first
  bool improvable_ = true, done_ = false;
};

}  // namespace

std::unique_ptr<Strategy> make_beam_search(Task& task) { return std::make_unique<BeamSearch>(task); }

}  // namespace caravan::generate
