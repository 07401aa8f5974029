// `caravan eval perplexity`: how well a model predicts a text, and how far its distributions are from another model's.
#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <optional>

#include "caravan/base/error.h"
#include "caravan/cli/context_warning.h"
#include "caravan/cli/eval.h"
#include "caravan/cli/input.h"
#include "caravan/cli/interrupt.h"
#include "caravan/cli/log.h"
#include "caravan/cli/model_options.h"
#include "caravan/cli/number_options.h"
#include "caravan/cli/output.h"
#include "caravan/cli/progress.h"
#include "caravan/cli/text_scores.h"
#include "caravan/cli/tokenizer_source.h"

namespace caravan::cli {
namespace {

struct Options {
  ModelOptions model;
  std::string file, against, tokenizer;
  WindowOptions windows;
  bool json = false;
};

Json to_json(const Options& options, const ScoredText& text, const TextScores& scores) {
  Json result = {{"model", options.model.model},
                 {"perplexity", scores.perplexity.value()},
                 {"uncertainty", scores.perplexity.uncertainty()},
                 {"nats_per_token", scores.perplexity.mean()},
                 {"tokens_scored", scores.perplexity.count()},
                 {"tokens", text.ids.size()},
                 {"windows", text.windows.size()},
                 {"context", options.windows.context},
                 {"stride", options.windows.stride},
                 {"seconds", scores.seconds},
                 {"tokens_per_second", static_cast<double>(text.tokens_run()) / std::max(scores.seconds, 1e-9)}};
  if (scores.divergence) {
    Json against = {{"model", options.against}, {"perplexity", scores.reference->value()}};
    against.update(scores.divergence->to_json());
    result["against"] = against;
  }
  return result;
}

void print_text(const Options& options, const ScoredText& text, const TextScores& scores) {
  if (!std::isfinite(scores.perplexity.value())) {
    log_info("warning: the perplexity, exp({:.6g}), passes the range of a double; --json has nats_per_token",
             scores.perplexity.mean());
  }
  print(fmt::format("perplexity  {:.4f} +- {:.4f}   ({} tokens scored in {} windows of {}; {:.1f} tokens/s)\n",
                    scores.perplexity.value(), scores.perplexity.uncertainty(),
                    with_commas(static_cast<uint64_t>(scores.perplexity.count())), text.windows.size(),
                    options.windows.context, static_cast<double>(text.tokens_run()) / std::max(scores.seconds, 1e-9)));
  if (!scores.divergence) return;
  const eval::Divergence& d = *scores.divergence;
  print(
      fmt::format("against     {}: perplexity {:.4f}, ratio {:.5f} +- {:.5f}\n"
                  "KL          mean {:.6f} +- {:.6f}, median {:.6f}, 99% {:.6f}, largest {:.6f}\n"
                  "same top    {:.2f} %\n",
                  options.against, scores.reference->value(), d.ratio(), d.ratio_uncertainty(), d.mean(),
                  d.mean_uncertainty(), d.quantile(0.5), d.quantile(0.99), d.quantile(1), 100 * d.same_top()));
}

text::Tokenizer tokenizer_of(const Options& options) {
  if (!options.tokenizer.empty()) return load_tokenizer_for("--tokenizer", options.tokenizer);
  try {
    return load_tokenizer(options.model.model);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::not_found || !std::filesystem::exists(options.model.model)) throw;
    fail(ErrorCode::not_found, "{}; --tokenizer names a checkpoint or tokenizer.json that has one", error.what());
  }
}

void check_windows(const WindowOptions& windows) {
  check(windows.stride > 0 || windows.context >= 4, ErrorCode::invalid_argument,
        "--context: a window has 4 tokens or more (2 with --stride), got {}", windows.context);
  check(windows.stride <= windows.context, ErrorCode::invalid_argument,
        "--stride: expected 1 to the context of {} tokens, got {}", windows.context, windows.stride);
}

void run(const Options& options, const Settings& settings) {
  check_windows(options.windows);
  const auto checkpoint = formats::Checkpoint::open(options.model.model);
  check_reads_forward(*checkpoint);
  const auto against = options.against.empty() ? nullptr : formats::Checkpoint::open(options.against);
  if (against) check_reads_forward(*against);
  models::LoadOptions load = load_options(options.model, settings);
  load.keep_blocks = true;
  const std::string read = read_text("--file", options.file);
  const ScoredText text = scored_text(tokenizer_of(options),
                                      {read, options.file == "-" ? "standard input" : options.file}, options.windows);
  const auto model = models::load_causal_lm(*checkpoint, load);
  const auto other = against ? models::load_causal_lm(*against, load) : nullptr;
  const auto reference = other ? std::optional(ScoredModel{*other, options.against}) : std::nullopt;
  const int64_t longest = text.longest_window();
  for (const models::CausalLm* each : {model.get(), other.get()}) {
    if (each != nullptr) warn_of_context(each->config(), longest, fmt::format("windows of {} tokens", longest));
  }
  TextScores scores;
  {
    const Interrupt interrupt;
    Progress progress("scoring", text.windows.size(), settings.verbosity >= 0, "windows");
    scores = score_text({*model, options.model.model}, reference, text, [&](int64_t done) {
      interrupt.check("scoring");
      progress.update(static_cast<uint64_t>(done));
    });
  }
  if (options.json) return print_json(to_json(options, text, scores));
  print_text(options, text, scores);
}

}  // namespace

Run setup_eval_perplexity(CLI::App& app, const Settings& settings) {
  auto options = std::make_shared<Options>();
  add_model_options(app, options->model);
  app.add_option("-f,--file", options->file, "text ('-': stdin)")->required();
  app.add_option("-c,--context", options->windows.context, "tokens a window (default: 512)")->check(whole(2, 1 << 20));
  app.add_option("--stride", options->windows.stride,
                 "windows that overlap and start so many tokens apart, each token scored once (default: "
                 "llama-perplexity's windows: one after another, the second half of each scored)")
      ->check(whole(1, 1 << 20));
  app.add_option("--max-windows", options->windows.max_windows, "the first so many only")->check(whole(1, 1 << 30));
  app.add_option("--against", options->against,
                 "another model with the same vocabulary: KL divergence from it, agreement, ratio of perplexities");
  app.add_option("--tokenizer", options->tokenizer,
                 "where the model brings none: a checkpoint or tokenizer.json that does");
  app.add_flag("--json", options->json, "print one JSON object");
  app.footer(
      "\nExamples:\n"
      "  caravan eval perplexity -m model.gguf -f text.txt\n"
      "  caravan eval perplexity -m model-q4.gguf --against model-folder -f text.txt\n"
      "  caravan eval perplexity -m model-folder -f text.txt -c 1024 --stride 512");
  return [options, &settings] { run(*options, settings); };
}

}  // namespace caravan::cli
