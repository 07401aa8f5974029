// Log probabilities of a text under a model, or under two of them: what `eval perplexity` and `quantize` measure.
//
//   const ScoredText text = scored_text(tokenizer, {read_text("--file", file), file}, {.context = 512});
//   const TextScores scores = score_text({*model, path}, ScoredModel{*reference, other}, text, progress);
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/eval/perplexity.h"
#include "caravan/formats/checkpoint.h"
#include "caravan/models/heads.h"
#include "caravan/text/tokenizer.h"

namespace caravan::cli {

struct WindowOptions {
  int64_t context = 512;
  int64_t stride = 0;                     // 0: llama.cpp's windows
  int64_t max_windows = 0;                // 0: all
  std::string_view option = "--context";  // what sets the context, for messages
};

struct NamedText {
  std::string_view text, name;
};

struct ScoredText {
  std::vector<int32_t> ids;
  std::optional<int32_t> bos;  // stands at the start of every window of llama.cpp's kind, over the token that is there
  std::vector<eval::Window> windows;
  int64_t tokens_run() const;      // that go through the model
  int64_t longest_window() const;  // tokens
};

// Tokens and windows of a text. llama.cpp's windows: special tokens written in the text are plain text, one line break
// at its end is dropped. Strided ones: as transformers tokenizes it.
ScoredText scored_text(const text::Tokenizer& tokenizer, const NamedText& text, const WindowOptions& options);

// Throws unsupported for a recommender whose prompts are read in both directions: a token's probability by those before
// it is nothing that it was trained to say, so a text has no perplexity under it.
void check_reads_forward(const formats::Checkpoint& checkpoint);

// `path`: where its weights come from.
struct ScoredModel {
  models::CausalLm& model;
  std::string path;
};

struct TextScores {
  eval::Perplexity perplexity;
  std::optional<eval::Divergence> divergence;  // from the reference to the model
  std::optional<eval::Perplexity> reference;
  double seconds = 0;  // of the model's own forward passes
};

// `progress` gets the windows done and may throw to stop. The reference must have the model's vocabulary. Throws where
// a probability is not finite: corrupt_file, naming the first weight that is not, or invalid_argument where all are.
TextScores score_text(const ScoredModel& model, const std::optional<ScoredModel>& reference, const ScoredText& text,
                      const std::function<void(int64_t)>& progress = {});

}  // namespace caravan::cli
