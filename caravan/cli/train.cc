// `caravan train`: trains a model from a TOML file whose every key is an option too. Ctrl-C saves and says how to go
// on.
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <unistd.h>

#include <map>
#include <optional>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/cli/command.h"
#include "caravan/cli/interrupt.h"
#include "caravan/cli/log.h"
#include "caravan/cli/output.h"
#include "caravan/cli/progress.h"
#include "caravan/cli/tokenizer_files.h"
#include "caravan/cli/train_ranking.h"
#include "caravan/generate/engine.h"
#include "caravan/generate/tokenizer_loading.h"
#include "caravan/train/run.h"
#include "caravan/train/run_folder.h"
#include "caravan/train/toml.h"

namespace caravan::cli {
namespace {

using train::StepReport;
using train::TrainConfig;

struct Options {
  std::string config;
  std::map<std::string, std::string> settings;  // by key, as typed
  bool resume = false, overwrite = false, dry_run = false, json = false;
};

// The settings that a run keeps in its folder.
std::string saved_config(const std::string& output) { return output + "/config.toml"; }

// --resume --output FOLDER alone goes on with the run there.
std::string config_path(const Options& options) {
  const auto output = options.settings.find("output");
  if (!options.config.empty() || !options.resume || output == options.settings.end()) return options.config;
  const std::string saved = saved_config(output->second);
  return file_exists(saved) ? saved : "";
}

TrainConfig resolve(const Options& options, const Settings& settings) {
  const std::string path = config_path(options);
  TrainConfig config = path.empty() ? TrainConfig{} : train::read_config(path);
  for (const auto& [key, text] : options.settings) {
    // A text field takes the words as they are: "--output 2026" names a folder.
    bool is_text = false;
    for (const train::Field& field : train::fields(config))
      is_text |= field.key == key && std::holds_alternative<std::string*>(field.value);
    train::set_key(config, key, is_text ? Json(text) : train::parse_toml_value(text));
  }
  if (settings.threads > 0) config.threads = settings.threads;
  check(!options.resume || config.output.empty() || file_exists(saved_config(config.output)) ||
            train::holds_run(config.output),
        ErrorCode::not_found, "{}: there is no run to resume; leave --resume out to begin one", config.output);
  return config;
}

// The line on a terminal, and now and then a plain one elsewhere.
class StepLine {
 public:
  explicit StepLine(int verbosity) : shown_(verbosity >= 0), terminal_(isatty(STDERR_FILENO) != 0) {}
  ~StepLine() { clear(); }

  void show(const StepReport& r) {
    const double wait = terminal_ ? 0.1 : 5.0;
    const bool last = r.step == r.total_steps;
    if (!shown_ || (r.seconds - shown_at_ < wait && !last)) return;
    shown_at_ = r.seconds;
    const std::string line =
        fmt::format("step {}/{}  loss {:.4f}  lr {:.2e}  {:.0f} tokens/s  {} left", r.step, r.total_steps, r.loss, r.lr,
                    r.tokens_per_second, human_seconds(r.seconds_left));
    if (!terminal_) return log_info("{}", line);
    std::fprintf(stderr, "\r%s\033[K", line.c_str());
    std::fflush(stderr);
    drawn_ = true;
  }
  void clear() {
    if (drawn_) std::fputs("\r\033[K", stderr);
    drawn_ = false;
  }

 private:
  bool shown_, terminal_, drawn_ = false;
  double shown_at_ = -1e9;
};

std::vector<int32_t> continue_tokens(models::CausalLm& model, const std::vector<int32_t>& prompt, int64_t count) {
  generate::GenerateRequest request;
  request.prompt = prompt;
  request.config.max_new_tokens = count;
  return generate::Engine(model).generate(std::move(request)).sequences.at(0).ids;
}

void print_result(const Options& options, const TrainConfig& config, train::Outcome outcome,
                  const std::vector<Json>& metrics) {
  const bool early = outcome == train::Outcome::stopped_early;
  if (options.json) {
    Json result = {{"outcome", early ? "stopped_early" : "finished"}, {"output", config.output}, {"metrics", metrics}};
    return print_json(result);
  }
  const bool trained = outcome != train::Outcome::nothing_left;
  if (!trained)
    log_info("the run is finished, nothing was left to do; a larger training.steps or training.epochs goes on");
  print(fmt::format("{1}: {0}/final (the model), {0}/report.html (curves), {0}/metrics.jsonl\n", config.output,
                    trained ? "trained" : "trained before"));
}

train::RunMode mode_of(const Options& options) {
  if (options.resume) return train::RunMode::resume;
  return options.overwrite ? train::RunMode::overwrite : train::RunMode::fresh;
}

// Every process reads the data and makes the model; the first one talks.
void run_in(train::Communicator& processes, const Options& options, const Settings& settings) {
  const bool first = processes.rank() == 0;
  const Interrupt interrupt;
  StepLine line(first ? settings.verbosity : -1);
  train::RunHooks hooks{.load_tokenizer = generate::load_tokenizer,
                        .make_tokenizer_files =
                            [](const formats::Checkpoint& from) {
                              return tokenizer_files(from,
                                                     [](const std::string& loss) { log_info("warning: {}", loss); });
                            },
                        .continue_tokens = continue_tokens,
                        .rank_items = rank_items,
                        .interrupted = [&] { return interrupt.raised(); },
                        .processes = &processes};
  if (first) {
    hooks.progress = [&](const StepReport& r) { line.show(r); };
    hooks.say = [&](const std::string& text) { line.clear(), log_info("{}", text); };
  }
  std::optional<train::Run> made;
  const int shared_cores = processes.size() > 1 ? train::threads_per_process(processes) : 0;
  train::together(processes, [&] {
    check(!options.resume || !options.overwrite, ErrorCode::invalid_argument,
          "--resume and --overwrite exclude each other");
    const TrainConfig config = resolve(options, settings);
    const int threads = config.threads > 0 ? static_cast<int>(config.threads) : shared_cores;
    if (threads > 0) at::set_num_threads(threads);
    made.emplace(config, hooks);
  });
  train::Run& run = *made;
  if (!first) {
    if (!options.dry_run) run.execute(mode_of(options));
    return;
  }
  const TrainConfig& config = run.config();
  if (options.dry_run) {
    if (options.json) return print_json({{"plan", run.plan()}, {"config", train::to_toml(run.config())}});
    return print(fmt::format("{}\n# {}\n", train::to_toml(run.config()), run.plan().dump()));
  }
  const Json plan = run.plan();
  log_info("{} parameters, {} training tokens, {} step{}; {} for weights, gradients and optimizer",
           human_count(plan["parameters"].get<uint64_t>()), with_commas(plan["training_tokens"].get<uint64_t>()),
           plan["steps"].get<int64_t>(), plan["steps"].get<int64_t>() == 1 ? "" : "s",
           human_bytes(plan["state_bytes"].get<uint64_t>()));
  if (processes.size() > 1) log_info("{} processes of {} threads", processes.size(), at::get_num_threads());
  const train::Outcome outcome = run.execute(mode_of(options));
  line.clear();
  if (outcome == train::Outcome::interrupted) processes.finish();
  check(outcome != train::Outcome::interrupted, ErrorCode::cancelled,
        "stopped; everything is saved in {}. To go on: {}caravan train {} --resume", config.output,
        processes.size() > 1 ? fmt::format("mpirun -n {} ", processes.size()) : "", saved_config(config.output));
  print_result(options, config, outcome, run.metrics());
}

void run(const Options& options, const Settings& settings) {
  const auto processes = train::open_communicator();
  try {
    run_in(*processes, options, settings);
    processes->finish();
  } catch (const train::ReportedElsewhere&) {
  } catch (const Error& error) {
    if (processes->size() == 1 || processes->finished()) throw;
    fail(error.code(), "process {} of {}: {}", processes->rank(), processes->size(), error.what());
  }
}

constexpr const char* kFooter = R"(
A first run:
  caravan train run.toml                               with run.toml:
    output = "runs/first"
    [model]                                            # from scratch; or path = "SmolLM2-135M"
    model_type = "llama"
    vocab_size = 1000
    hidden_size = 256
    intermediate_size = 688
    num_hidden_layers = 4
    num_attention_heads = 4
    [data]
    train = "train.jsonl"                              # {"ids": [1, 5, 2]} or {"text": "..."} a line
    validation = "validation.jsonl"

Every key can be set on the command line: --optimizer.lr 3e-4 --training.precision bf16
Ctrl-C finishes the step and saves; --resume goes on as if nothing had happened, to the last bit.
)";

}  // namespace

Run setup_train(CLI::App& app, const Settings& settings) {
  auto options = std::make_shared<Options>();
  app.add_option("CONFIG", options->config, "TOML file with the settings");
  app.add_flag("--resume", options->resume,
               "continue from the newest checkpoint of the output folder; without CONFIG "
               "with the settings that --output FOLDER holds");
  app.add_flag("--overwrite", options->overwrite,
               "begin anew in a folder that holds a run: what that run wrote is removed");
  app.add_flag("--dry-run", options->dry_run, "print the resolved settings and the sizes, train nothing");
  app.add_flag("--json", options->json, "print the result as JSON");
  TrainConfig defaults;
  const auto add = [&](const std::string& key, const std::string& help, const std::string& group) {
    app.add_option_function<std::string>(
           "--" + key, [options, key](const std::string& text) { options->settings[key] = text; }, help)
        ->group(group);
  };
  for (const train::Field& field : train::fields(defaults)) {
    if (field.key == "threads") continue;  // every command has it
    const size_t dot = field.key.find('.');
    const std::string value = std::visit([](const auto* v) { return train::toml_value(Json(*v)); }, field.value);
    add(field.key, field.help + (value == "\"\"" ? "" : " [" + value + "]"),
        dot == std::string::npos ? "Settings" : "Settings: " + field.key.substr(0, dot));
  }
  for (const std::string& key : train::model_keys()) add("model." + key, "as in config.json", "Settings: model");
  app.footer(kFooter);
  return [options, &settings] { run(*options, settings); };
}

}  // namespace caravan::cli
