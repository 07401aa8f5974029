// What quantizing cost: perplexity, divergence and agreement of the quantized model against its source on a text.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "caravan/base/json.h"
#include "caravan/cli/model_options.h"
#include "caravan/cli/text_scores.h"

namespace caravan::cli {

struct ReportOptions {
  std::string file;       // empty: sample_text()
  int64_t context = 256;  // tokens a window; the second half of each is scored
};

// The source as it was opened: its path may name something else by now.
struct Compared {
  const formats::Checkpoint& source;
  std::string quantized;
  models::LoadOptions load;
};

// The text as the source's tokenizer reads it. None, with a message, where the built-in one cannot be used: no
// tokenizer, a text shorter than a window.
std::optional<ScoredText> report_text(const formats::Checkpoint& source, const ReportOptions& options);

// `step` is called before each window and may throw to stop.
Json report_quality(const Compared& models, const ScoredText& text, const ReportOptions& options,
                    const std::function<void()>& step, const Settings& settings);

std::string format_quality(const Json& report);  // two lines

}  // namespace caravan::cli
