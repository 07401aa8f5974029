// What is asked of the engine and what comes back.
//
//   GenerateRequest request{.prompt = tokenizer.encode("Once").ids, .config = config};
//   request.on_token = [](const TokenEvent& event) { fmt::print("{}", event.text); return true; };
//   GenerateResult result = engine.generate(std::move(request));
//   use(result.sequences[0].ids, result.sequences[0].text);
#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/generate/config.h"
#include "caravan/generate/constraint.h"
#include "caravan/text/tokenizer.h"

namespace caravan::generate {

using at::Tensor;

// eos: an eos token; stop: a stop string; length: the token limit; time: max_time; cancelled: on request.
enum class FinishReason { eos, stop, length, time, cancelled };
std::string_view to_string(FinishReason reason);

struct TokenLogprob {
  int32_t id = 0;
  float logprob = 0;
};

// A new token of a sequence, in order. Beam searches choose late: they send all events at the end.
struct TokenEvent {
  int64_t sequence = 0;  // index in the result
  int32_t id = 0;
  std::string text;   // what became certain with this token (never part of a stop string); needs a tokenizer
  bool last = false;  // no more tokens of this sequence
  FinishReason reason = FinishReason::length;  // where last
};

struct GenerateRequest {
  std::vector<int32_t> prompt;
  Tensor prompt_embeddings;  // [L, C], instead of or (for the processors' view) beside the ids
  GenerationConfig config;
  std::shared_ptr<Constraint> constraint;
  const text::Tokenizer* tokenizer = nullptr;  // for text and stop strings; outlives the request
  bool skip_special_tokens = true;             // in text

  // Details on request; logprobs are of the model's own distribution, scores are what the processors made of it.
  bool logprobs = false;
  int64_t top_logprobs = 0;
  bool scores = false, logits = false;

  std::function<bool(const TokenEvent&)> on_token;     // false cancels the request
  std::shared_ptr<const std::atomic<bool>> cancelled;  // set it from any thread
};

struct GeneratedSequence {
  std::vector<int32_t> ids;  // new tokens only, with the eos that ended them
  std::string text;          // cut before a stop string
  FinishReason reason = FinishReason::length;
  double score = 0;  // beams: sum of log probabilities / length^length_penalty; else the sum of logprobs, if kept
  std::vector<float> logprobs;                          // [new tokens] where asked
  std::vector<std::vector<TokenLogprob>> top_logprobs;  // [new tokens][n], best first
  Tensor scores, logits;                                // [new tokens, V] where asked
};

struct GenerateResult {
  std::vector<GeneratedSequence> sequences;          // num_return_sequences, best first
  int64_t prompt_tokens = 0, reused_tokens = 0;      // of the prompt; those whose cache was shared
  int64_t accepted_tokens = 0, proposed_tokens = 0;  // of speculative decoding
  double prefill_seconds = 0, decode_seconds = 0;
};

}  // namespace caravan::generate
