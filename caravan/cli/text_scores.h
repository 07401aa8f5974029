// Log probabilities of a text under a model, or under two of them: what `eval perplexity` and `quantize` measure.
//
//   const ScoredText text = scored_text(tokenizer, read_text(file), {.context = 512});
//   const TextScores scores = score_text(model, &reference, text, progress);
#pragma once

#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "caravan/eval/perplexity.h"
#include "caravan/models/heads.h"
#include "caravan/text/tokenizer.h"

namespace caravan::cli {

struct WindowOptions {
  int64_t context = 512;
  int64_t stride = 0;       // 0: llama.cpp's windows
  int64_t max_windows = 0;  // 0: all
};

struct ScoredText {
  std::vector<int32_t> ids;
  std::optional<int32_t> bos;  // stands at the start of every window of llama.cpp's kind, over the token that is there
  std::vector<eval::Window> windows;
  int64_t tokens_run() const;  // that go through the model
};

// Tokens and windows of a text. llama.cpp's windows: special tokens written in the text are plain text, one line break
// at its end is dropped. Strided ones: as transformers tokenizes it.
ScoredText scored_text(const text::Tokenizer& tokenizer, std::string_view text, const WindowOptions& options);

struct TextScores {
  eval::Perplexity perplexity;
  std::optional<eval::Divergence> divergence;  // from the reference to the model
  std::optional<eval::Perplexity> reference;
  double seconds = 0;  // of the model's own forward passes
};

// `progress` gets the windows done and may throw to stop. The reference must have the model's vocabulary.
TextScores score_text(models::CausalLm& model, models::CausalLm* reference, const ScoredText& text,
                      const std::function<void(int64_t)>& progress = {});

}  // namespace caravan::cli
