// A strategy decodes one prompt: the engine asks it for the tokens to feed and hands it the scores that follow. What
// all strategies share stands here as well.
//
//   while (!strategy->done()) { feeds = strategy->feeds(); strategy->consume(runner.run(feeds)); }
//
// The first consume() brings one row, the scores after the prompt; the strategy owns the prompt's cache from then on.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "caravan/generate/logits_processor.h"
#include "caravan/generate/model_runner.h"
#include "caravan/generate/request.h"
#include "caravan/generate/stopping.h"

namespace caravan::generate {

struct TokenDetail {
  float logprob = 0;
  std::vector<TokenLogprob> top;
  Tensor scores, logits;  // [V]
};

// Keeps what the request wants to know about each token.
class Recorder {
 public:
  explicit Recorder(const GenerateRequest& request);
  void see_logits(const Tensor& logits);  // [R, V], before the processors
  void see_scores(const Tensor& scores);  // [R, V], after them
  // Of token `id` chosen from row `row`; nullptr where nothing was asked for.
  std::shared_ptr<const TokenDetail> record(int64_t row, int32_t id) const;

 private:
  int64_t top_;
  bool logprobs_, keep_scores_, keep_logits_;
  Tensor log_probabilities_, scores_, logits_;
};

// One prompt and its options, made ready. Lengths count tokens that have ids: an inputs_embeds prompt counts 0.
struct Task {
  Task(GenerateRequest request, int64_t vocab_size, int64_t max_position_embeddings);
  GenerateRequest request;
  int64_t prompt_rows = 0;    // of the model: ids or embeddings
  int64_t prompt_length = 0;  // ids that the processors see
  int64_t max_length = 0, min_length = 0;
  int64_t vocab_size = 0;
  ProcessorList processors;
  std::unique_ptr<Stopping> stopping;
  Recorder recorder;
  int64_t proposed = 0, accepted = 0;  // speculative tokens

  const GenerationConfig& config() const { return request.config; }
  int64_t max_new_tokens() const { return max_length - prompt_length; }
  int32_t pad() const;  // pad, else the first eos, else -1
};

// The best score of a step: an error where it is -inf (every token is banned) or NaN (the model's scores are broken).
void check_best_score(float score);

// A sequence under way. The cache lacks the newest token.
struct Branch {
  nn::CacheSequence cache;
  std::vector<int32_t> ids;                                 // prompt and generated
  std::vector<std::shared_ptr<const TokenDetail>> details;  // of the generated ones, where kept
};

GeneratedSequence to_result(const Task& task, const std::vector<int32_t>& ids,
                            const std::vector<std::shared_ptr<const TokenDetail>>& details, FinishReason reason);

// Decodes and announces a sequence that was chosen as a whole (beams); fills its text.
void announce(const Task& task, GeneratedSequence& sequence, int64_t index);

class Strategy {
 public:
  virtual ~Strategy() = default;
  virtual void begin(nn::CacheSequence prompt) = 0;           // then consume() with one row
  virtual bool wants_prompt_hidden() const { return false; }  // consume() then also gets them, [L, C]
  virtual std::vector<Feed> feeds() = 0;
  virtual void consume(Outputs outputs) = 0;
  virtual bool done() const = 0;
  virtual std::vector<GeneratedSequence> results() = 0;  // once, when done or cancelled
};

// The model that guesses for speculative decoding; none: prompt lookup, where the config asks for it.
struct Draft {
  ModelRunner* runner = nullptr;
  double cost = 0;  // of its pass, in passes of the model
};

// By the config: see each file.
std::unique_ptr<Strategy> make_strategy(Task& task, const Draft& draft);
std::unique_ptr<Strategy> make_greedy_search(Task& task);
std::unique_ptr<Strategy> make_sampling(Task& task);
std::unique_ptr<Strategy> make_beam_search(Task& task);
std::unique_ptr<Strategy> make_group_beam_search(Task& task);
std::unique_ptr<Strategy> make_contrastive_search(Task& task);
std::unique_ptr<Strategy> make_speculative_decoding(Task& task, const Draft& draft);

}  // namespace caravan::generate
