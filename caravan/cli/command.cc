// Finds the command, parses its options with CLI11, words the errors: what is wrong, the nearest name, where help is.
#include "caravan/cli/command.h"

#include <fmt/format.h>

#include <algorithm>

#include "caravan/base/error.h"
#include "caravan/base/nearest.h"
#include "caravan/cli/arguments.h"
#include "caravan/cli/help_format.h"
#include "caravan/cli/log.h"
#include "caravan/cli/number_options.h"
#include "caravan/cli/output.h"

namespace caravan::cli {
namespace {

constexpr Command kCommands[] = {
#define CARAVAN_COMMAND(name, summary) {#name, summary, setup_##name},
#include "caravan/cli/commands.inc"
#undef CARAVAN_COMMAND
};

constexpr std::string_view kPlanned[] = {"finetune", "serve"};

std::string program_help() {
  std::string text =
      "Caravan: LLaMA-family language models from a single program.\n\n"
      "Usage: caravan COMMAND [OPTIONS]\n\nCommands:\n";
  for (const Command& command : kCommands) text += fmt::format("  {:<12}{}\n", command.name, command.summary);
  return text +
         "\nA model (-m) is a checkpoint folder, a .safetensors file or a .gguf file.\n"
         "Each command explains itself: caravan COMMAND --help\n\n"
         "Examples:\n"
         "  caravan inspect SmolLM2-135M-Instruct.gguf --tree\n"
         "  echo 'Hello, world!' | caravan tokenize -m SmolLM2-135M-Instruct.gguf --json\n";
}

// What users of llama.cpp type, and what it is called here; where there is nothing of the kind, why not.
struct Foreign {
  std::string_view name, ours, why;
};
constexpr Foreign kForeign[] = {
    {"--temp", "--temperature", ""},
    {"-n", "--max-new-tokens", ""},
    {"--n-predict", "--max-new-tokens", ""},
    {"--predict", "--max-new-tokens", ""},
    {"--repeat-penalty", "--repetition-penalty", ""},
    {"--model-draft", "--draft", ""},
    {"-md", "--draft", ""},
    {"--cache-type-k", "--kv-cache-dtype", ""},
    {"--cache-type-v", "--kv-cache-dtype", ""},
    {"-ngl", "--device", "--device cuda takes the whole model"},
    {"--n-gpu-layers", "--device", "--device cuda takes the whole model"},
    {"--gpu-layers", "--device", "--device cuda takes the whole model"},
    {"-c", "", "the memory for earlier tokens grows as it is needed: leave it out"},
    {"--ctx-size", "", "the memory for earlier tokens grows as it is needed: leave it out"},
};
constexpr Foreign kForeignCommands[] = {
    {"perplexity", "eval perplexity", ""}, {"completion", "generate", ""}, {"cli", "chat", ""}};

const Command& find_command(const std::string& name) {
  for (const Command& command : kCommands) {
    if (command.name == name) return command;
  }
  if (name.starts_with("-")) {
    fail(ErrorCode::invalid_argument,
         "expected a command before the option '{}': caravan COMMAND [OPTIONS]; 'caravan --help' lists the commands",
         name);
  }
  for (const std::string_view planned : kPlanned) {
    check(name != planned, ErrorCode::unsupported,
          "the command '{}' is planned and not there yet; 'caravan --help' lists what is", name);
  }
  for (const Foreign& foreign : kForeignCommands) {
    check(name != foreign.name, ErrorCode::invalid_argument,
          "unknown command '{}' (did you mean '{}'?); 'caravan --help' lists the commands", name, foreign.ours);
  }
  std::vector<std::string> names;
  for (const Command& command : kCommands) names.emplace_back(command.name);
  fail(ErrorCode::invalid_argument, "unknown command '{}'{}; 'caravan --help' lists the commands", name,
       did_you_mean(name, names));
}

// The options of the app and of the subcommand that was asked for.
std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* subcommand : app.get_subcommands()) names = option_names(*subcommand);
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
  }
  return names;
}

std::string foreign_hint(std::string_view typed, const std::vector<std::string>& options) {
  for (const Foreign& foreign : kForeign) {
    if (foreign.name != typed) continue;
    if (!foreign.ours.empty() && std::ranges::find(options, foreign.ours) == options.end()) continue;
    return foreign.why.empty() ? fmt::format(" (did you mean '{}'?)", foreign.ours) : fmt::format(" ({})", foreign.why);
  }
  return "";
}

std::vector<std::string> subcommand_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* subcommand : app.get_subcommands({})) names.push_back(subcommand->get_name());
  return names;
}

[[noreturn]] void fail_parse(const CLI::App& app, const CLI::ParseError& error) {
  const std::vector<CLI::App*> subcommands = app.get_subcommands();
  const std::string name = full_name(subcommands.empty() ? app : *subcommands.front());
  const std::string command = name.substr(name.find(' ') + 1);  // the program's name stands before every message
  const std::vector<std::string> extras = app.remaining(true);
  const bool no_subcommand = app.get_subcommands().empty() && !app.get_subcommands({}).empty();
  const bool wrong_subcommand = no_subcommand && !extras.empty() && !extras.front().starts_with("-");
  for (const std::string& extra : extras) {
    if (!extra.starts_with("-") || wrong_subcommand) continue;  // the options behind a wrong subcommand may be right
    const std::string option = extra.substr(0, extra.find('='));
    const std::vector<std::string> options = option_names(app);
    const std::string hint = foreign_hint(option, options);
    fail(ErrorCode::invalid_argument, "{}: unknown option '{}'{}; '{} --help' lists the options", command, option,
         hint.empty() ? did_you_mean(option, options) : hint, name);
  }
  if (!extras.empty()) {
    fail(ErrorCode::invalid_argument, "{}: unexpected argument '{}'{}; see '{} --help'", command, extras.front(),
         no_subcommand ? did_you_mean(extras.front(), subcommand_names(app)) : "", name);
  }
  fail(ErrorCode::invalid_argument, "{}: {}; see '{} --help'", command, error.what(), name);
}

void run(const Command& command, std::vector<std::string> arguments) {
  Settings settings;
  CLI::App app(std::string("caravan ") + std::string(command.name) + ": " + std::string(command.summary),
               "caravan " + std::string(command.name));
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.formatter(std::make_shared<HelpFormatter>(terminal_columns()));
  Run action = command.setup(app, settings);
  app.add_option("-t,--threads", settings.threads, "CPU threads (default: all cores)")->check(whole(1, 4096));
  app.add_flag_callback(
      "-v,--verbose", [&] { settings.verbosity = 1; }, "more logs on stderr");
  app.add_flag_callback(
      "-q,--quiet", [&] { settings.verbosity = -1; }, "no progress and no warnings on stderr, errors only");
  for (CLI::App* subcommand : app.get_subcommands({})) {
    subcommand->footer(subcommand->get_footer() +
                       "\n\n-t,--threads N, -v,--verbose and -q,--quiet: as for any command.");
  }
  refuse_empty_values(app);
  normalize_arguments(app, arguments);
  std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    return print(app.help());
  } catch (const CLI::ParseError& error) {
    fail_parse(app, error);
  }
  set_verbosity(settings.verbosity);
  action();
}

}  // namespace

void add_model_argument(CLI::App& app, std::string& model, const std::string& help, bool needed) {
  CLI::Option* option = app.add_option("model,-m,--model", model,
                                       help + (needed ? " (needed, here or after -m)" : " (here or after -m)"));
  option->type_name("MODEL");
  app.parse_complete_callback([&model, &app, option, needed] {
    const std::string name = full_name(app), command = name.substr(name.find(' ') + 1);
    check(!model.empty() || !needed, ErrorCode::invalid_argument, "{}: no model is given: {} MODEL; see '{} --help'",
          command, name, name);
    for (const std::string& other : option->results()) {
      check(other == model, ErrorCode::invalid_argument,
            "{}: two models are given, '{}' and '{}': expected one; see '{} --help'", command, other, model, name);
    }
  });
}

std::span<const Command> commands() { return kCommands; }

Run setup_subcommands(CLI::App& app, const Settings& settings, std::span<const Command> subcommands) {
  app.require_subcommand(1);
  std::vector<std::pair<CLI::App*, Run>> runs;
  for (const Command& command : subcommands) {
    CLI::App* own = app.add_subcommand(std::string(command.name), std::string(command.summary));
    own->fallthrough();
    runs.emplace_back(own, command.setup(*own, settings));
  }
  return [runs] {
    for (const auto& [own, run] : runs) {
      if (own->parsed()) run();
    }
  };
}

void run_command_line(std::vector<std::string> arguments) {
  const std::string first = arguments.empty() ? "--help" : arguments.front();
  if (first == "--help" || first == "-h" || (first == "help" && arguments.size() == 1)) return print(program_help());
  if (first == "--version") return print("caravan " CARAVAN_VERSION "\n");
  if (first == "help") arguments = {arguments[1], "--help"};
  const Command& command = find_command(arguments.front());
  arguments.erase(arguments.begin());
  run(command, std::move(arguments));
}

}  // namespace caravan::cli
