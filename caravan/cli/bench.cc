// `caravan bench`: how fast a model reads prompts and writes tokens here, beside what this machine's memory gives.
//
// pp512 reads a prompt of 512 tokens at once; tg128 writes 128 tokens one by one after a prompt of one. GB/s counts the
// weights that a pass reads; its percentage is of the bandwidth measured over as many bytes with as many threads, so
// weights that fit a cache are judged by the cache. Left out: peak arithmetic, small batches, load time.
#include <ATen/Parallel.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "caravan/base/error.h"
#include "caravan/cli/command.h"
#include "caravan/cli/interrupt.h"
#include "caravan/cli/model_options.h"
#include "caravan/cli/output.h"
#include "caravan/cli/progress.h"
#include "caravan/generate/engine.h"
#include "caravan/kernels/table.h"
#include "caravan/ops/threads.h"

namespace caravan::cli {
namespace {

struct Options {
  ModelOptions model;
  std::vector<int64_t> prompts = {512}, tokens = {128};
  int64_t repetitions = 5;
  std::string format = "text";
  bool json = false;
};

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct Weights {
  uint64_t bytes = 0;  // of what one pass multiplies
  std::string dtype;   // of most of them
};

Weights weights_of(models::CausalLm& model) {
  std::map<std::string, uint64_t> by_dtype;
  Weights all;
  for (const nn::NamedParameter& p : model.named_parameters()) {
    const bool looked_up = !model.tied() && p.parameter == &model.backbone().input_embedding().weight;
    if (looked_up) continue;  // a row a token
    const uint64_t bytes = p.parameter->value.nbytes();
    by_dtype[std::string(to_string(p.parameter->dtype))] += bytes;
    all.bytes += bytes;
  }
  const auto fewer = [](const auto& a, const auto& b) { return a.second < b.second; };
  all.dtype = std::max_element(by_dtype.begin(), by_dtype.end(), fewer)->first;
  return all;
}

// Bytes a second that all threads read together out of a buffer of this size: the best of some passes.
double read_bandwidth(uint64_t bytes) {
  constexpr uint64_t kMost = uint64_t{1} << 30;
  const std::vector<uint64_t> words(std::min(bytes, kMost) / sizeof(uint64_t), 1);
  const auto n = static_cast<int64_t>(words.size());
  double best = 0;
  std::atomic<uint64_t> sum{0};  // so that the reading is not optimized away
  for (int pass = 0; pass < 12; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    ops::parallel_pieces(n, std::max<int64_t>(1, n / at::get_num_threads()), [&](int64_t begin, int64_t end) {
      sum += kernels::table().sum_words(words.data() + begin, end - begin);
    });
    best = std::max(best, static_cast<double>(n) * sizeof(uint64_t) / seconds_since(start));
  }
  check(sum == 12 * static_cast<uint64_t>(n), ErrorCode::internal, "bench: the memory test read something else");
  return best;
}

class Bench {
 public:
  Bench(models::CausalLm& model, const Options& options)
      : model_(model), options_(options), weights_(weights_of(model)), bandwidth_(read_bandwidth(weights_.bytes)) {}

  Json run(const Settings& settings) {
    const Interrupt interrupt;
    const auto count =
        static_cast<uint64_t>(options_.repetitions + 1) * (options_.prompts.size() + options_.tokens.size());
    Progress progress("measuring", count, settings.verbosity >= 0, "runs");
    uint64_t done = 0;
    Json results = Json::array();
    const auto measure = [&](const std::string& test, int64_t prompt, int64_t tokens) {
      std::vector<double> rates;
      for (int64_t i = 0; i <= options_.repetitions; ++i) {
        const double rate = tokens_per_second(prompt, tokens, interrupt);
        if (i > 0) rates.push_back(rate);  // the first run warms up
        progress.update(++done, test);
      }
      results.push_back(summary(test, rates, tokens > 0 ? 1.0 : 1.0 / static_cast<double>(prompt)));
    };
    for (const int64_t n : options_.prompts) measure(fmt::format("pp{}", n), n, 0);
    for (const int64_t n : options_.tokens) measure(fmt::format("tg{}", n), 1, n);
    return results;
  }

 private:
  // Of one run: the prompt's where no tokens are to be written.
  double tokens_per_second(int64_t prompt, int64_t tokens, const Interrupt& interrupt) {
    generate::GenerateRequest request;
    const int64_t vocabulary = model_.backbone().vocab_size();
    for (int64_t i = 0; i < prompt; ++i) request.prompt.push_back(static_cast<int32_t>((1 + i * 7919) % vocabulary));
    request.config.max_new_tokens = request.config.min_new_tokens = tokens + 1;  // the prompt's pass gives the first
    request.cancelled = interrupt.flag();
    const generate::GenerateResult result = generate::Engine(model_).generate(std::move(request));
    interrupt.check("measuring");
    return tokens > 0 ? static_cast<double>(tokens) / result.decode_seconds
                      : static_cast<double>(prompt) / result.prefill_seconds;
  }

  Json summary(const std::string& test, const std::vector<double>& rates, double passes_per_token) const {
    double mean = 0, squares = 0;
    for (const double rate : rates) mean += rate / static_cast<double>(rates.size());
    for (const double rate : rates) squares += (rate - mean) * (rate - mean);
    const double read = mean * passes_per_token * static_cast<double>(weights_.bytes);
    return {{"test", test},
            {"tokens_per_second", mean},
            {"deviation", rates.size() > 1 ? std::sqrt(squares / static_cast<double>(rates.size() - 1)) : 0.0},
            {"best_tokens_per_second", *std::max_element(rates.begin(), rates.end())},
            {"repetitions", rates.size()},
            {"gb_per_second", read / 1e9},
            {"bandwidth_percent", 100 * read / bandwidth_},
            {"read_bandwidth_gb_per_second", bandwidth_ / 1e9},
            {"model", options_.model.model},
            {"weight_bytes", weights_.bytes},
            {"dtype", weights_.dtype},
            {"threads", at::get_num_threads()},
            {"instruction_set", kernels::table().isa}};
  }

  models::CausalLm& model_;
  const Options& options_;
  Weights weights_;
  double bandwidth_;
};

void print_text(const Json& results) {
  const Json& any = results[0];
  print(fmt::format("{}: {} of weights, {}; {} threads, {}; reads {:.1f} GB/s over as many bytes\n\n",
                    any["model"].get<std::string>(), human_bytes(any["weight_bytes"].get<uint64_t>()),
                    any["dtype"].get<std::string>(), any["threads"].get<int>(),
                    any["instruction_set"].get<std::string>(), any["read_bandwidth_gb_per_second"].get<double>()));
  print(fmt::format("{:<10}{:>12}{:>10}{:>10}{:>13}\n", "test", "tokens/s", "+-", "GB/s", "of bandwidth"));
  for (const Json& r : results) {
    print(fmt::format("{:<10}{:>12.1f}{:>10.1f}{:>10.2f}{:>12.0f}%\n", r["test"].get<std::string>(),
                      r["tokens_per_second"].get<double>(), r["deviation"].get<double>(),
                      r["gb_per_second"].get<double>(), r["bandwidth_percent"].get<double>()));
  }
}

// CSV, or a Markdown table: the same cells.
void print_table(const Json& results, bool markdown) {
  const auto row = [&](const std::vector<std::string>& cells) {
    print(markdown ? fmt::format("| {} |\n", fmt::join(cells, " | ")) : fmt::format("{}\n", fmt::join(cells, ",")));
  };
  std::vector<std::string> names;
  for (const auto& [name, value] : results[0].items()) names.push_back(name);
  row(names);
  if (markdown) row(std::vector<std::string>(names.size(), "---"));
  for (const Json& result : results) {
    std::vector<std::string> cells;
    for (const auto& [name, value] : result.items()) {
      const std::string text = value.is_number_float() ? fmt::format("{:.6g}", value.get<double>()) : value.dump();
      cells.push_back(value.is_string() && markdown ? value.get<std::string>() : text);
    }
    row(cells);
  }
}

void run(const Options& options, const Settings& settings) {
  models::LoadOptions load = load_options(options.model, settings);
  load.keep_blocks = true;
  const auto model = models::load_causal_lm(options.model.model, load);
  const Json results = Bench(*model, options).run(settings);
  if (options.json || options.format == "json") {
    print_json(results, 2);
  } else if (options.format == "text") {
    print_text(results);
  } else {
    print_table(results, options.format == "markdown");
  }
  flush_output();
}

}  // namespace

Run setup_bench(CLI::App& app, const Settings& settings) {
  auto options = std::make_shared<Options>();
  add_model_options(app, options->model);
  const CLI::Range lengths(1, 1 << 20);
  app.add_option("-p,--prompt-tokens", options->prompts, "prompts of so many tokens, as 512 or 64,512 (default: 512)")
      ->delimiter(',')
      ->check(lengths);
  app.add_option("-n,--new-tokens", options->tokens, "so many tokens one by one, as 128 or 32,128 (default: 128)")
      ->delimiter(',')
      ->check(lengths);
  app.add_option("-r,--repetitions", options->repetitions, "runs of each, after one to warm up (default: 5)")
      ->check(CLI::Range(1, 1000));
  app.add_option("--format", options->format, "text, json, csv or markdown (default: text)")
      ->check(CLI::IsMember({"text", "json", "csv", "markdown"}));
  app.add_flag("--json", options->json,
               "print [{\"test\", \"tokens_per_second\", \"gb_per_second\", \"bandwidth_percent\", ...}, ...]");
  app.footer(
      "\nGB/s counts the weights that a pass reads; the percentage is of this machine's own read bandwidth over as "
      "many\n"
      "bytes. Other programs on the same cores spoil every number.\n\nExamples:\n"
      "  caravan bench -m model.gguf\n"
      "  caravan bench -m model.gguf -p 64,512 -n 128 -t 2 --format markdown");
  return [options, &settings] { run(*options, settings); };
}

}  // namespace caravan::cli
