#include "caravan/cli/quantize_report.h"

#include <fmt/format.h>

#include "caravan/base/error.h"
#include "caravan/cli/input.h"
#include "caravan/cli/log.h"
#include "caravan/cli/progress.h"
#include "caravan/cli/sample_text.h"
#include "caravan/cli/tokenizer_source.h"

namespace caravan::cli {

std::optional<ScoredText> report_text(const formats::Checkpoint& source, const ReportOptions& options) {
  const WindowOptions windows{.context = options.context, .option = "--report-context"};
  if (!options.file.empty()) {
    check_reads_forward(source);
    const std::string text = read_text("--report", options.file);
    return scored_text(load_tokenizer_for("--report", source.path()), {text, options.file}, windows);
  }
  try {
    check_reads_forward(source);
    return scored_text(load_tokenizer(source.path()), {sample_text(), "the built-in text"}, windows);
  } catch (const Error& error) {
    log_info("the loss of quality is not measured: {}", error.what());
    return std::nullopt;
  }
}

Json report_quality(const Compared& models, const ScoredText& text, const ReportOptions& options,
                    const std::function<void()>& step, const Settings& settings) {
  const auto source = models::load_causal_lm(models.source, models.load);
  const auto quantized = models::load_causal_lm(models.quantized, models.load);
  Progress shown("measuring", text.windows.size(), settings.verbosity >= 0, "windows");
  const TextScores scores =
      score_text({*quantized, models.quantized}, ScoredModel{*source, models.source.path()}, text, [&](int64_t done) {
        step();
        shown.update(static_cast<uint64_t>(done));
      });
  Json report = {{"text", options.file.empty() ? "built-in" : options.file},
                 {"tokens_scored", scores.divergence->count()},
                 {"perplexity_source", scores.reference->value()},
                 {"perplexity", scores.perplexity.value()},
                 {"perplexity_uncertainty", scores.perplexity.uncertainty()}};
  report.update(scores.divergence->to_json());
  return report;
}

std::string format_quality(const Json& report) {
  const auto number = [&](const char* key) { return report[key].get<double>(); };
  return fmt::format(
      "perplexity {:.3f} -> {:.3f} (ratio {:.4f} +- {:.4f}); KL mean {:.5f}, 99% {:.5f}; same top token {:.1f} %\n"
      "({} tokens of {}, the second half of each window)\n",
      number("perplexity_source"), number("perplexity"), number("perplexity_ratio"),
      number("perplexity_ratio_uncertainty"), number("kl_mean"), number("kl_99"), 100 * number("same_top"),
      report["tokens_scored"].get<int64_t>(),
      report["text"] == "built-in" ? "the built-in text" : report["text"].get<std::string>());
}

}  // namespace caravan::cli
