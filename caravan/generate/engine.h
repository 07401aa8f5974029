// The engine: any number of requests, each with its own options, advance together, one model call a step.
//
//   Engine engine(*model, {.prefill_chunk = 512});
//   GenerateResult result = engine.generate({.prompt = ids, .config = config});          // one request
//   auto results = engine.generate(std::move(requests));                                // a batch, any lengths
//
//   RequestId id = engine.submit(std::move(request));                                   // continuous batching
//   while (engine.step()) if (engine.finished(id)) use(engine.take(id));
//
// Prompts are not padded; requests with a common prefix share its cache pages and it runs through the model once; long
// prompts are prefilled in chunks, between which the others go on decoding; finished sequences leave the batch at once.
// A model that reads prompts in both directions (a recommender's item_prompt.prefix) runs each of them whole and alone.
// Not thread-safe, except that a request's `cancelled` flag may be set from anywhere.
#pragma once

#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "caravan/generate/model_runner.h"
#include "caravan/generate/prefix_cache.h"
#include "caravan/generate/request.h"
#include "caravan/generate/strategy.h"
#include "caravan/models/heads.h"

namespace caravan::generate {

struct EngineOptions {
  int64_t prefill_chunk = 512;                // tokens of a prompt in one step
  int64_t max_step_tokens = 2048;             // tokens of all requests in one step (decoding ones always run)
  int64_t max_running = 256;                  // requests under way; the others wait
  int64_t keep_prefix_tokens = 0;             // tokens of finished requests kept for prompts that begin alike
  std::optional<at::ScalarType> cache_dtype;  // of keys and values (nn/kv_cache.h); none: as the model computes
  models::CausalLm* draft = nullptr;          // proposes tokens for speculative decoding; same vocabulary
};

using RequestId = uint64_t;

class Engine {
 public:
  explicit Engine(models::CausalLm& model, EngineOptions options = {});
  ~Engine();

  // Throws invalid_argument or unsupported for a request that can never run.
  RequestId submit(GenerateRequest request);
  bool step();  // false when there is nothing to do
  bool finished(RequestId id) const;
  GenerateResult take(RequestId id);  // throws what the request failed with; not_found for an unknown id
  void cancel(RequestId id);          // what it has so far becomes its result
  int64_t active() const;             // requests that are not finished

  std::vector<GenerateResult> generate(std::vector<GenerateRequest> requests);
  GenerateResult generate(GenerateRequest request);

  ModelRunner& runner() { return runner_; }

 private:
  struct Job;
  void admit();
  bool shareable(const Job& job) const;  // whether its prompt's beginning is any other's that begins so
  bool waits_for_prefix(Job& job);
  Feed next_chunk(Job& job, int64_t budget);
  std::vector<Job*> plan(std::vector<Feed>& feeds);
  void deliver(Job& job, Outputs outputs);
  void finish(Job& job, std::exception_ptr error = nullptr);
  void drop_cancelled();

  EngineOptions options_;
  ModelRunner runner_;
  std::unique_ptr<ModelRunner> draft_runner_;
  Draft draft_;
  bool both_directions_;  // a prompt's tokens see one another
  PrefixCache prefixes_;
  RequestId next_id_ = 1;
  std::vector<std::unique_ptr<Job>> waiting_, running_;  // in order of arrival
  std::map<RequestId, std::unique_ptr<Job>> done_;
};

}  // namespace caravan::generate
