// Diverse beam search: the beams form groups that search one after another each step; a token that earlier groups just
// chose costs diversity_penalty each time (Vijayakumar et al. 2016). Source: transformers 4.46 _group_beam_search with
// BeamSearchScorer, hypothesis bookkeeping included: eos is not part of a hypothesis, the first eos id is put after it.
#include <torch/torch.h>

#include <algorithm>
#include <cmath>

#include "caravan/base/error.h"
#include "caravan/generate/candidates.h"

namespace caravan::generate {
namespace {

using Details = std::vector<std::shared_ptr<const TokenDetail>>;

// Tokens that earlier groups chose in this step, and what each costs.
struct Diversity final : LogitsProcessor {
  explicit Diversity(double value) : penalty(static_cast<float>(value)) {}
  void apply(ScoreRow row) const override {
    if (current.empty()) return;
    counts.assign(row.scores.size(), 0.0f);
    for (int32_t id : current) {
      if (id >= 0 && id < std::ssize(counts)) counts[id] += 1;
    }
    for (size_t i = 0; i < counts.size(); ++i) row.scores[i] -= penalty * counts[i];
  }
  float penalty;
  std::vector<int32_t> current;
  mutable std::vector<float> counts;
};

struct Hypothesis {
  double score = 0;
  std::vector<int32_t> ids;
  Details details;
  std::optional<FinishReason> ended;  // eos, or none where it was cut
};

// The best `size` finished hypotheses of a group (transformers' BeamHypotheses).
class HypothesisList {
 public:
  HypothesisList(int64_t size, const GenerationConfig& config, int64_t max_new_tokens)
      : size_(size), config_(&config), max_new_tokens_(max_new_tokens) {}

  void add(Hypothesis h, int64_t length) {
    h.score /= std::pow(static_cast<double>(length), config_->length_penalty);
    if (std::ssize(items_) >= size_ && !(h.score > worst_)) return;
    worst_ = std::min(worst_, h.score);
    items_.push_back(std::move(h));
    if (std::ssize(items_) <= size_) return;
    const auto by_score = [](const Hypothesis& a, const Hypothesis& b) { return a.score < b.score; };
    items_.erase(std::min_element(items_.begin(), items_.end(), by_score));
    worst_ = std::min_element(items_.begin(), items_.end(), by_score)->score;
  }

  bool complete(double best_sum, int64_t length) const {
    if (std::ssize(items_) < size_) return false;
    if (config_->early_stopping == EarlyStopping::yes) return true;
    const bool to_the_end = config_->early_stopping == EarlyStopping::never && config_->length_penalty > 0;
    const double norm = static_cast<double>(to_the_end ? max_new_tokens_ : length);
    return worst_ >= best_sum / std::pow(norm, config_->length_penalty);
  }

  std::vector<Hypothesis>& items() { return items_; }

 private:
  int64_t size_;
  const GenerationConfig* config_;
  int64_t max_new_tokens_;
  double worst_ = 1e9;
  std::vector<Hypothesis> items_;
};

class GroupBeamSearch final : public Strategy {
 public:
  explicit GroupBeamSearch(Task& task) : task_(&task), size_(task.config().num_beams / task.config().num_beam_groups) {
    const int64_t eos = std::ssize(task.config().eos_token_id);
    candidates_ = std::max<int64_t>(2, 1 + eos) * size_;
    auto diversity = std::make_unique<Diversity>(task.config().diversity_penalty);
    diversity_ = diversity.get();
    task.processors.insert(task.config().sequence_bias.empty() ? 0 : 1, std::move(diversity));
    for (int64_t g = 0; g < task.config().num_beam_groups; ++g) {
      Group& group = groups_.emplace_back(HypothesisList(size_, task.config(), task.max_new_tokens()));
      group.ids.assign(size_, task.request.prompt);
      group.details.resize(size_);
      group.scores.assign(size_, kMinusBillion);
      group.scores[0] = 0;
      group.caches.resize(size_);
    }
  }

  void begin(nn::CacheSequence prompt) override {
    for (Group& group : groups_) group.caches[0] = prompt.fork();
  }

  std::vector<Feed> feeds() override {
    std::vector<Feed> feeds;
    for (Group& group : groups_) {
      for (int64_t b = 0; b < size_ && !group.done; ++b) {
        feeds.push_back({.cache = &group.caches[b], .ids = {group.ids[b].back()}});
      }
    }
    return feeds;
  }

  void consume(Outputs outputs) override {
    const bool after_prompt = outputs.logits.size(0) == 1;
    diversity_->current.clear();
    int64_t row = 0;
    bool open = false;
    for (Group& group : groups_) {
      if (group.done) {  // transformers pads it: the later groups see the pads
        diversity_->current.insert(diversity_->current.end(), size_, task_->pad());
        continue;
      }
      // After the prompt all groups start from the one row; processing changes it in place, so each takes a copy.
      const Tensor logits = after_prompt ? outputs.logits.clone() : outputs.logits.narrow(0, row, size_);
      if (!after_prompt) row += size_;
      advance(group, logits);
      for (const auto& ids : group.ids) diversity_->current.push_back(ids.back());
      open = open || (!group.done && !all_stopped(group));
    }
    ++generated_;
    done_ = !open;
  }

  bool done() const override { return done_; }

  std::vector<GeneratedSequence> results() override {
    std::vector<Hypothesis> all;
    for (Group& group : groups_) {
      for (int64_t b = 0; b < size_ && !group.done && generated_ > 0; ++b) {
        group.finished.add({.score = group.scores[b], .ids = group.ids[b], .details = group.details[b]}, generated_);
      }
      for (Hypothesis& h : group.finished.items()) all.push_back(std::move(h));
    }
    if (generated_ == 0) all.assign(task_->config().num_return_sequences, {.ids = task_->request.prompt});  // cancelled
    std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.score < b.score; });
    std::vector<GeneratedSequence> out;
    for (int64_t i = 0; i < task_->config().num_return_sequences && !all.empty(); ++i) {
      out.push_back(to_sequence(all.back(), i));
      all.pop_back();
    }
    return out;
  }

 private:
  struct Group {
    explicit Group(HypothesisList list) : finished(std::move(list)) {}
    std::vector<nn::CacheSequence> caches;
    std::vector<std::vector<int32_t>> ids;
    std::vector<Details> details;
    std::vector<float> scores;
    HypothesisList finished;
    bool done = false;
  };

  void advance(Group& group, const Tensor& logits) {
    const int64_t rows = logits.size(0);
    const std::vector<std::span<const int32_t>> ids(group.ids.begin(), group.ids.begin() + rows);
    const Tensor log_p = processed_log_probabilities(*task_, logits, ids);
    const std::vector<Candidate> top = best_candidates(log_p, group.scores, candidates_);
    check_best_score(top.front().score);
    std::vector<std::vector<int32_t>> next_ids;
    std::vector<Details> next_details;
    std::vector<float> next_scores;
    std::vector<int64_t> parent_of;
    for (int64_t k = 0; k < std::ssize(top) && std::ssize(next_ids) < size_; ++k) {
      const Candidate& c = top[k];
      const auto detail = task_->recorder.record(rows == 1 ? 0 : c.beam, c.token);
      Hypothesis h{.score = c.score, .ids = group.ids[c.beam], .details = group.details[c.beam]};
      h.details.push_back(detail);
      if (task_->stopping->is_eos(c.token)) {
        h.ended = FinishReason::eos;
        if (k < size_) group.finished.add(std::move(h), generated_ + 1);
        continue;
      }
      h.ids.push_back(c.token);
      next_ids.push_back(std::move(h.ids));
      next_details.push_back(std::move(h.details));
      next_scores.push_back(c.score);
      parent_of.push_back(rows == 1 ? 0 : c.beam);
    }
    check(std::ssize(next_ids) == size_, ErrorCode::invalid_argument,
          "diverse beam search found {} continuations that are not eos, but needs {}", next_ids.size(), size_);
    group.done = group.finished.complete(top.front().score, generated_ + 1);
    group.ids = std::move(next_ids);
    group.details = std::move(next_details);
    group.scores = std::move(next_scores);
    group.caches = inherit(std::move(group.caches), parent_of);
  }

  bool all_stopped(const Group& group) const {
    return std::all_of(group.ids.begin(), group.ids.end(),
                       [this](const auto& ids) { return task_->stopping->check(ids).has_value(); });
  }

  GeneratedSequence to_sequence(Hypothesis& h, int64_t index) const {
    const std::optional<FinishReason> reason = h.ended ? h.ended : task_->stopping->check(h.ids);
    if (h.ended && std::ssize(h.ids) < task_->max_length) h.ids.push_back(task_->config().eos_token_id.front());
    GeneratedSequence sequence = to_result(*task_, h.ids, h.details, reason.value_or(FinishReason::cancelled));
    sequence.score = h.score;
    announce(*task_, sequence, index);
    return sequence;
  }

  Task* task_;
  int64_t size_, candidates_ = 0, generated_ = 0;
  Diversity* diversity_ = nullptr;  // owned by the task's processors
  std::vector<Group> groups_;
  bool done_ = false;
};

}  // namespace

std::unique_ptr<Strategy> make_group_beam_search(Task& task) { return std::make_unique<GroupBeamSearch>(task); }

}  // namespace caravan::generate
