// `caravan bench`: how fast a model reads prompts and writes tokens here, beside what this machine's memory gives.
//
// pp512 reads a prompt of 512 tokens at once; tg128 writes 128 tokens one by one after a prompt of one; tg128x16 writes
// 128 tokens of 16 sequences together, the rate counting all. GB/s counts the weights that a pass reads; its percentage
// is of the bandwidth measured over as many bytes with as many threads, so weights that fit a cache are judged by it.
// GFLOP/s counts the products with weights, attention left out, beside what large products of that type reach here.
#include <ATen/Parallel.h>
#include <fmt/ranges.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <optional>
#include <sstream>

#include "caravan/base/error.h"
#include "caravan/cli/bench_machine.h"
#include "caravan/cli/command.h"
#include "caravan/cli/context_warning.h"
#include "caravan/cli/interrupt.h"
#include "caravan/cli/model_options.h"
#include "caravan/cli/number_options.h"
#include "caravan/cli/output.h"
#include "caravan/cli/progress.h"
#include "caravan/generate/engine.h"
#include "caravan/kernels/table.h"
#include "caravan/models/multiplied.h"
#include "caravan/nn/observe.h"

namespace caravan::cli {
namespace {

struct Options {
  ModelOptions model;
  std::vector<int64_t> prompts = {512}, tokens = {128}, batches = {1}, depths = {0};
  int64_t repetitions = 5;
  std::string format = "text";
  bool json = false, machine = false, profile = false;
};

// One measurement: a prompt's reading where no tokens are written, else of the tokens behind the prompt.
struct Test {
  int64_t prompt, tokens, sequences;
  std::string name() const {
    if (tokens == 0) return fmt::format("pp{}", prompt);
    return fmt::format("tg{}", tokens) + (sequences > 1 ? fmt::format("x{}", sequences) : "") +
           (prompt > 1 ? fmt::format("@d{}", prompt - 1) : "");
  }
};

// Since this process began, as the system's clock counts it (a hundredth of a second).
double seconds_since_start() {
  std::ifstream stat("/proc/self/stat"), uptime("/proc/uptime");
  std::string text((std::istreambuf_iterator<char>(stat)), {});
  std::istringstream fields(text.substr(std::min(text.rfind(')') + 1, text.size())));
  std::string field;
  for (int i = 3; i <= 22; ++i) fields >> field;  // field 22: the start, in ticks since the system's
  double now = 0;
  uptime >> now;
  return now - std::strtod(field.c_str(), nullptr) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

uint64_t peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

struct Weights {
  uint64_t bytes = 0;           // of what one pass multiplies
  DType dtype{};                // of most of them
  double layers = 0, head = 0;  // numbers: each token meets the layers', tokens that are wanted also the head's
};

Weights weights_of(models::CausalLm& model) {
  std::map<DType, uint64_t> by_dtype;
  Weights all{.bytes = static_cast<uint64_t>(models::multiplied_bytes(model))};
  for (const nn::NamedParameter& p : model.named_parameters()) {
    if (!models::is_multiplied(model, *p.parameter)) continue;
    by_dtype[p.parameter->dtype] += p.parameter->value.nbytes();
    if (p.parameter->shape.size() != 2) continue;
    const bool head = p.name == "lm_head.weight" || p.parameter == &model.backbone().input_embedding().weight;
    (head ? all.head : all.layers) += static_cast<double>(p.parameter->shape[0] * p.parameter->shape[1]);
  }
  const auto fewer = [](const auto& a, const auto& b) { return a.second < b.second; };
  all.dtype = std::max_element(by_dtype.begin(), by_dtype.end(), fewer)->first;
  return all;
}

class Bench {
 public:
  Bench(models::CausalLm& model, const Options& options, std::optional<at::ScalarType> cache_dtype)
      : model_(model),
        options_(options),
        cache_dtype_(cache_dtype),
        loaded_(seconds_since_start()),
        weights_(weights_of(model)) {
    const Interrupt interrupt;
    first_token_ = loaded_ + 32 / tokens_per_second({.prompt = 32, .tokens = 0, .sequences = 1}, interrupt);
  }

  Json run(const Settings& settings) {
    const Interrupt interrupt;
    const std::vector<Test> tests = list();
    Progress progress("measuring", static_cast<uint64_t>(options_.repetitions + 1) * tests.size(),
                      settings.verbosity >= 0, "runs");
    uint64_t done = 0;
    std::vector<Measured> all;
    for (const Test& test : tests) {
      std::vector<double> rates;
      for (int64_t i = 0; i <= options_.repetitions; ++i) {
        const double rate = tokens_per_second(test, interrupt);
        if (i > 0) rates.push_back(rate);  // the first run warms up
        progress.update(++done, test.name());
      }
      all.push_back({test, std::move(rates), peak_memory()});
    }
    // Last, because their memory is not the model's.
    bandwidth_ = read_bandwidth(weights_.bytes);
    peak_ = multiply_rate(weights_.dtype);
    Json results = Json::array();
    for (const Measured& one : all) results.push_back(summary(one));
    return results;
  }

  // One run of each test under the profiler, which is not counted: time by kind of layer.
  struct Profile {
    std::string test;
    std::vector<nn::Profiler::Row> rows;
    double linear_operations;  // of all Linear layers together
  };
  std::vector<Profile> profiles() {
    const Interrupt interrupt;
    std::vector<Profile> all;
    for (const Test& test : list()) {
      nn::Profiler profiler;
      const nn::ScopedObserver watch(profiler);
      tokens_per_second(test, interrupt);
      const auto tokens = static_cast<double>(test.sequences * (test.prompt + test.tokens)),
                 written = static_cast<double>(test.sequences * (1 + test.tokens));
      const double head = model_.tied() ? 0 : weights_.head;  // a tied one is no Linear
      all.push_back({test.name(), profiler.rows_by_kind(), 2 * (tokens * weights_.layers + written * head)});
    }
    return all;
  }
  double peak() const { return peak_; }  // operations a second

 private:
  std::vector<Test> list() const {
    std::vector<Test> tests;
    for (const int64_t n : options_.prompts) tests.push_back({.prompt = n, .tokens = 0, .sequences = 1});
    for (const int64_t n : options_.tokens) {
      for (const int64_t d : options_.depths) {
        for (const int64_t b : options_.batches) tests.push_back({.prompt = d + 1, .tokens = n, .sequences = b});
      }
    }
    return tests;
  }

  // Of one run. Sequences begin with different tokens, so that none shares another's cache.
  double tokens_per_second(const Test& test, const Interrupt& interrupt) {
    std::vector<generate::GenerateRequest> requests(static_cast<size_t>(test.sequences));
    const int64_t vocabulary = model_.backbone().vocab_size();
    for (int64_t b = 0; b < test.sequences; ++b) {
      generate::GenerateRequest& request = requests[static_cast<size_t>(b)];
      for (int64_t i = 0; i < test.prompt; ++i) {
        request.prompt.push_back(static_cast<int32_t>((1 + b + i * 7919) % vocabulary));
      }
      // The prompt's pass gives the first token.
      request.config.max_new_tokens = request.config.min_new_tokens = test.tokens + 1;
      request.cancelled = interrupt.flag();
    }
    const auto results = generate::Engine(model_, {.cache_dtype = cache_dtype_}).generate(std::move(requests));
    interrupt.check("measuring");
    double seconds = 0;
    for (const auto& r : results) seconds = std::max(seconds, test.tokens > 0 ? r.decode_seconds : r.prefill_seconds);
    return static_cast<double>(test.sequences * (test.tokens > 0 ? test.tokens : test.prompt)) / seconds;
  }

  // Of a token, on average: a prompt's last one alone meets the head.
  double operations_per_token(const Test& test) const {
    return 2 * (weights_.layers + weights_.head / static_cast<double>(test.tokens > 0 ? 1 : test.prompt));
  }

  struct Measured {
    Test test;
    std::vector<double> rates;  // tokens a second of each run
    uint64_t peak_memory;       // bytes, until then
  };

  Json summary(const Measured& measured) const {
    const auto& [test, rates, peak_memory] = measured;
    const double passes_per_token = 1.0 / static_cast<double>(test.tokens > 0 ? test.sequences : test.prompt);
    double mean = 0, squares = 0;
    for (const double rate : rates) mean += rate / static_cast<double>(rates.size());
    for (const double rate : rates) squares += (rate - mean) * (rate - mean);
    const double read = mean * passes_per_token * static_cast<double>(weights_.bytes);
    Json row = {
        {"test", test.name()},
        {"tokens_per_second", mean},
        {"deviation", rates.size() > 1 ? Json(std::sqrt(squares / static_cast<double>(rates.size() - 1))) : Json()},
        {"best_tokens_per_second", *std::max_element(rates.begin(), rates.end())},
        {"repetitions", rates.size()},
        {"gb_per_second", read / 1e9},
        {"bandwidth_percent", 100 * read / bandwidth_},
        {"read_bandwidth_gb_per_second", bandwidth_ / 1e9},
        {"gflops", mean * operations_per_token(test) / 1e9},
        {"peak_percent", 100 * mean * operations_per_token(test) / peak_},
        {"peak_gflops", peak_ / 1e9},
        {"model", options_.model.model},
        {"weight_bytes", weights_.bytes},
        {"load_seconds", loaded_},
        {"first_token_seconds", first_token_},
        {"peak_memory_bytes", peak_memory},
        {"dtype", to_string(weights_.dtype)},
        {"threads", at::get_num_threads()},
        {"instruction_set", kernels::table().isa}};
    if (cache_dtype_) row["kv_cache_dtype"] = options_.model.cache_dtype;
    if (!options_.model.packed_cache.empty()) row["packed_cache"] = options_.model.packed_cache;
    return row;
  }

  models::CausalLm& model_;
  const Options& options_;
  std::optional<at::ScalarType> cache_dtype_;  // of keys and values
  double loaded_, first_token_ = 0;            // seconds since the process began
  Weights weights_;
  double bandwidth_ = 0, peak_ = 0;  // bytes and operations a second
};

// What holds for all rows, in lines.
std::vector<std::string> run_facts(const Json& results) {
  const Json& any = results[0];
  const auto threads = any["threads"].get<int>();
  std::string settings;
  for (const char* key : {"kv_cache_dtype", "packed_cache"}) {
    if (any.contains(key)) settings += fmt::format("; {} {}", key, any[key].get<std::string>());
  }
  return {fmt::format("{}: {} of weights, {}; {} thread{}, {}{}", any["model"].get<std::string>(),
                      human_bytes(any["weight_bytes"].get<uint64_t>()), any["dtype"].get<std::string>(), threads,
                      threads == 1 ? "" : "s", any["instruction_set"].get<std::string>(), settings),
          fmt::format("this machine reads {:.1f} GB/s over as many bytes, and multiplies at {:.0f} GFLOP/s at most",
                      any["read_bandwidth_gb_per_second"].get<double>(), any["peak_gflops"].get<double>()),
          fmt::format("loaded {:.2f} s after the program began, first token of 32 at {:.2f} s, peak memory {}",
                      any["load_seconds"].get<double>(), any["first_token_seconds"].get<double>(),
                      human_bytes(results.back()["peak_memory_bytes"].get<uint64_t>()))};
}

// RFC 4180: a text in quotes, quotes inside it doubled.
std::string csv_text(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) quoted.append(c == '"' ? "\"\"" : std::string(1, c));
  return quoted + "\"";
}

// A line break would end the item of a list, a bar the cell.
std::string markdown_text(const std::string& text) {
  std::string escaped;
  for (const char c : text) escaped.append(c == '|' ? "\\|" : std::string(1, c == '\n' || c == '\r' ? ' ' : c));
  return escaped;
}

// The measured part of a row. One run alone has no deviation.
std::vector<std::string> measured(const Json& r) {
  const Json& deviation = r["deviation"];
  return {r["test"].get<std::string>(),
          fmt::format("{:.1f}", r["tokens_per_second"].get<double>()),
          deviation.is_null() ? "" : fmt::format("{:.1f}", deviation.get<double>()),
          fmt::format("{:.2f}", r["gb_per_second"].get<double>()),
          fmt::format("{:.0f}%", r["bandwidth_percent"].get<double>()),
          fmt::format("{:.0f}", r["gflops"].get<double>()),
          fmt::format("{:.0f}%", r["peak_percent"].get<double>())};
}

const std::vector<std::string> kMeasured = {"test",        "tokens/s",     "+-",    "GB/s read",
                                            "% bandwidth", "GFLOP/s done", "% peak"};

void print_text(const Json& results) {
  print(fmt::format("{}\n\n", fmt::join(run_facts(results), "\n")));
  const auto line = [](const std::vector<std::string>& c) {
    print(fmt::format("{:<12}{:>10}{:>9}{:>11}{:>13}{:>14}{:>8}\n", c[0], c[1], c[2], c[3], c[4], c[5], c[6]));
  };
  line(kMeasured);
  for (const Json& r : results) line(measured(r));
}

void print_markdown(const Json& results) {
  for (const std::string& fact : run_facts(results)) print(fmt::format("- {}\n", markdown_text(fact)));
  const auto line = [](const std::vector<std::string>& cells) {
    print(fmt::format("| {} |\n", fmt::join(cells, " | ")));
  };
  print("\n");
  line(kMeasured);
  line({"---", "---:", "---:", "---:", "---:", "---:", "---:"});
  for (const Json& r : results) line(measured(r));
}

void print_csv(const Json& results) {
  std::vector<std::string> names;
  for (const auto& [name, value] : results[0].items()) names.push_back(name);
  print(fmt::format("{}\n", fmt::join(names, ",")));
  for (const Json& result : results) {
    std::vector<std::string> cells;
    for (const auto& [name, value] : result.items()) {
      if (value.is_string()) {
        cells.push_back(csv_text(value.get_ref<const std::string&>()));
      } else if (value.is_null()) {
        cells.emplace_back();
      } else {
        cells.push_back(value.is_number_float() ? fmt::format("{:.6g}", value.get<double>()) : dump_json(value, -1));
      }
    }
    print(fmt::format("{}\n", fmt::join(cells, ",")));
  }
}

void print_machine(const Json& machine) {
  print(fmt::format("{} thread{}, {}\n\n{:<12}{:>10}\n", machine["threads"].get<int>(),
                    machine["threads"].get<int>() == 1 ? "" : "s", machine["instruction_set"].get<std::string>(),
                    "reading", "GB/s"));
  for (const Json& row : machine["read_bandwidth"]) {
    print(fmt::format("{:<12}{:>10.1f}\n", human_bytes(row["bytes"].get<uint64_t>()),
                      row["gb_per_second"].get<double>()));
  }
  print(fmt::format("\n{:<12}{:>10}\n", "multiplying", "GFLOP/s"));
  for (const Json& row : machine["multiply_rate"]) {
    print(fmt::format("{:<12}{:>10.0f}\n", row["type"].get<std::string>(), row["gflops"].get<double>()));
  }
}

void print_profiles(Bench& bench) {
  for (const auto& [test, rows, operations] : bench.profiles()) {
    double all = 0;
    for (const auto& row : rows) all += row.own_seconds;
    print(fmt::format("\n{:<20}{:>10}{:>12}{:>9}{:>14}{:>8}\n", test + " by layer", "calls", "ms", "share",
                      "GFLOP/s done", "% peak"));
    const auto line = [&](const std::string& kind, const std::string& calls, double seconds) {
      print(fmt::format("{:<20}{:>10}{:>12.2f}{:>8.1f}%", kind, calls, seconds * 1e3, 100 * seconds / all));
    };
    for (const auto& row : rows) {
      line(row.kind, std::to_string(row.calls), row.own_seconds);
      const double rate = operations / row.own_seconds;
      print(row.kind == "Linear" ? fmt::format("{:>14.0f}{:>7.0f}%\n", rate / 1e9, 100 * rate / bench.peak()) : "\n");
    }
    line("total", "", all);
    print("\n");
  }
  print(
      "\nTimes are a layer's own, without those of the layers inside it. Layers are timed one by one: the tests above "
      "ran\nfused stages where a model decodes, which this run does not, so that its total may be longer.\n");
}

void warn_of_positions(const Json& config, const Options& options) {
  const int64_t read = std::ranges::max(options.prompts);
  const int64_t before = std::ranges::max(options.depths), written = std::ranges::max(options.tokens);
  warn_of_context(config, read, fmt::format("prompts of {} tokens", read));
  warn_of_context(config, before + 1 + written, fmt::format("{} tokens after {}", written, before + 1));
}

void check_format(const Options& options) {
  const bool text = options.format == "text", json = options.json || options.format == "json";
  check(text || json || !options.machine, ErrorCode::invalid_argument,
        "bench: --machine prints text or JSON, not --format {}", options.format);
  check(!options.json || text || options.format == "json", ErrorCode::invalid_argument,
        "bench: --json and --format {} contradict each other: give one of them", options.format);
  check(!options.profile || (text && !json), ErrorCode::invalid_argument,
        "bench: --profile is printed as text: leave it out, or --json and --format");
}

void run(const Options& options, const Settings& settings) {
  check_format(options);
  models::LoadOptions load = load_options(options.model, settings);
  load.keep_blocks = true;
  if (options.machine) {
    const Json machine = measure_machine();
    options.json || options.format == "json" ? print_json(machine, 2) : print_machine(machine);
    flush_output();
    return;
  }
  check(!options.model.model.empty(), ErrorCode::invalid_argument,
        "bench: which model? Use -m FOLDER or FILE, or --machine for the machine alone");
  const std::optional<at::ScalarType> cache = cache_dtype(options.model);
  const auto model = models::load_causal_lm(options.model.model, load);
  warn_of_positions(model->config(), options);
  Bench bench(*model, options, cache);
  const Json results = bench.run(settings);
  if (options.json || options.format == "json") {
    print_json(results, 2);
  } else if (options.format == "text") {
    print_text(results);
    if (options.profile) print_profiles(bench);
  } else if (options.format == "markdown") {
    print_markdown(results);
  } else {
    print_csv(results);
  }
  flush_output();
}

}  // namespace

Run setup_bench(CLI::App& app, const Settings& settings) {
  auto options = std::make_shared<Options>();
  add_model_options(app, options->model, /*needed=*/false);
  add_cache_options(app, options->model);
  const CLI::Validator lengths = whole(1, 1 << 20);
  app.add_option("-p,--prompt-tokens", options->prompts, "prompts of so many tokens, as 512 or 64,512 (default: 512)")
      ->delimiter(',')
      ->check(lengths);
  app.add_option("-n,--new-tokens", options->tokens, "so many tokens one by one, as 128 or 32,128 (default: 128)")
      ->delimiter(',')
      ->check(lengths);
  app.add_option("-b,--batch", options->batches, "so many sequences write together, as 16 or 1,4,16 (default: 1)")
      ->delimiter(',')
      ->check(whole(1, 256));
  app.add_option(
         "-d,--depth", options->depths,
         "tokens that stand before those of -n, as 2048 or 0,2048: their keys and values are read for each (default: "
         "0)")
      ->delimiter(',')
      ->check(whole(0, 1 << 20));
  CLI::Option* machine = app.add_flag("--machine", options->machine,
                                      "measure this machine alone: reading by footprint, multiplying by type");
  app.add_flag("--profile", options->profile,
               "after the text: own time by kind of layer, in one more run of each test whose layers are not fused");
  app.add_option("-r,--repetitions", options->repetitions, "runs of each, after one to warm up (default: 5)")
      ->check(whole(1, 1000));
  app.add_option("--format", options->format, "text, json, csv or markdown (default: text)")
      ->check(CLI::IsMember({"text", "json", "csv", "markdown"}));
  for (const char* of_models :
       {"--model", "--dtype", "--device", "--kv-cache-dtype", "--packed-cache", "--prompt-tokens", "--new-tokens",
        "--batch", "--depth", "--repetitions", "--profile"}) {
    machine->excludes(of_models);
  }
  app.add_flag("--json", options->json,
               "print [{\"test\", \"tokens_per_second\", \"gb_per_second\", \"bandwidth_percent\", ...}, ...]");
  app.footer(
      "\nGB/s read counts the weights that a pass reads; % bandwidth is its share of this machine's own read "
      "bandwidth\n"
      "over as many bytes. GFLOP/s done counts the products with weights; % peak is its share of what large products\n"
      "reach here. Other programs on the same cores spoil every number.\n\nExamples:\n"
      "  caravan bench -m model.gguf\n"
      "  caravan bench -m model.gguf -p 64,512 -n 128 -b 1,16 -t 2 --format markdown\n"
      "  caravan bench --machine");
  return [options, &settings] { run(*options, settings); };
}

}  // namespace caravan::cli
