// num_return_sequences samples share the prompt's pages and its one row of scores; finished sequences leave the batch.
#include "caravan/generate/token_loop.h"

#include <torch/torch.h>

namespace caravan::generate {
namespace {

class TokenLoop final : public Strategy {
 public:
  TokenLoop(Task& task, std::unique_ptr<Chooser> chooser) : task_(&task), chooser_(std::move(chooser)) {
    const GenerateRequest& request = task.request;
    for (int64_t i = 0; i < request.config.num_return_sequences; ++i) {
      sequences_.push_back(std::make_unique<Sequence>(
          Sequence{.index = i,
                   .random = Random(request.config.seed, static_cast<uint64_t>(i)),
                   .stream = TextStream(request.tokenizer, request.skip_special_tokens, request.config.stop_strings)}));
      sequences_.back()->branch.ids = request.prompt;
    }
    results_.resize(sequences_.size());
  }

  void begin(nn::CacheSequence prompt) override {
    for (size_t i = 0; i + 1 < sequences_.size(); ++i) sequences_[i]->branch.cache = prompt.fork();
    sequences_.back()->branch.cache = std::move(prompt);
  }

  std::vector<Feed> feeds() override {
    std::vector<Feed> feeds;
    for (auto& s : sequences_) feeds.push_back({.cache = &s->branch.cache, .ids = {s->branch.ids.back()}});
    return feeds;
  }

  void consume(Outputs outputs) override {
    const Tensor& scores = outputs.logits;  // [R, V]: one row in all after the prompt, then one a sequence
    task_->recorder.see_logits(scores);
    std::vector<ScoreRow> rows;
    for (int64_t r = 0; r < scores.size(0); ++r) {
      rows.push_back({{scores.mutable_data_ptr<float>() + r * scores.size(1), static_cast<size_t>(scores.size(1))},
                      sequences_[r]->branch.ids});
    }
    task_->processors.apply(rows);
    task_->recorder.see_scores(scores);
    chooser_->see(scores);
    const bool shared_row = scores.size(0) == 1;
    for (size_t i = 0; i < sequences_.size(); ++i) advance(*sequences_[i], shared_row ? 0 : static_cast<int64_t>(i));
    std::erase_if(sequences_, [](const auto& s) { return s->end.has_value(); });
  }

  bool done() const override { return sequences_.empty(); }

  std::vector<GeneratedSequence> results() override {
    for (auto& s : sequences_) {
      s->end = FinishReason::cancelled;
      keep(*s);
    }
    return std::move(results_);
  }

 private:
  struct Sequence {
    int64_t index = 0;
    Branch branch = {};
    Random random;
    TextStream stream;
    std::optional<FinishReason> end = {};
  };

  void advance(Sequence& s, int64_t row) {
    const int32_t id = chooser_->choose(row, s.random);
    s.branch.details.push_back(task_->recorder.record(row, id));
    s.branch.ids.push_back(id);
    s.end = task_->stopping->check(s.branch.ids);
    TokenEvent event{.sequence = s.index, .id = id, .text = s.stream.push(id, s.end), .last = s.end.has_value()};
    event.reason = s.end.value_or(FinishReason::length);
    const bool wanted = !task_->request.on_token || task_->request.on_token(event);
    if (!wanted && !s.end) s.end = FinishReason::cancelled;
    if (s.end) keep(s);
  }

  void keep(Sequence& s) {
    GeneratedSequence result = to_result(*task_, s.branch.ids, s.branch.details, *s.end);
    result.text = s.stream.text();
    results_[s.index] = std::move(result);
  }

  Task* task_;
  std::unique_ptr<Chooser> chooser_;
  std::vector<std::unique_ptr<Sequence>> sequences_;  // unfinished
  std::vector<GeneratedSequence> results_;
};

}  // namespace

std::unique_ptr<Strategy> make_token_loop(Task& task, std::unique_ptr<Chooser> chooser) {
  return std::make_unique<TokenLoop>(task, std::move(chooser));
}

}  // namespace caravan::generate
