// Finds the command, parses its options with CLI11, words the errors: what is wrong, the nearest name, where help is.
#include "caravan/cli/command.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "caravan/base/error.h"
#include "caravan/base/nearest.h"
#include "caravan/cli/log.h"
#include "caravan/cli/output.h"

namespace caravan::cli {
namespace {

constexpr Command kCommands[] = {
#define CARAVAN_COMMAND(name, summary) {#name, summary, setup_##name},
#include "caravan/cli/commands.inc"
#undef CARAVAN_COMMAND
};

// Commands that are planned; those that exist are found before anybody looks here.
constexpr std::string_view kPlanned[] = {"quantize", "train",     "finetune", "eval",
                                         "items",    "recommend", "serve",    "bench"};

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
  std::vector<std::string> names;
  for (const Command& command : kCommands) names.emplace_back(command.name);
  fail(ErrorCode::invalid_argument, "unknown command '{}'{}; 'caravan --help' lists the commands", name,
       did_you_mean(name, names));
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
  }
  return names;
}

// "--max_new_tokens" means "--max-new-tokens" where only the latter exists.
void accept_underscores(const CLI::App& app, std::vector<std::string>& arguments) {
  const std::vector<std::string> known = option_names(app);
  for (std::string& argument : arguments) {
    if (!argument.starts_with("--")) continue;
    const size_t end = std::min(argument.find('='), argument.size());
    std::string name = argument.substr(0, end);
    std::replace(name.begin(), name.end(), '_', '-');
    if (std::find(known.begin(), known.end(), name) != known.end()) argument.replace(0, end, name);
  }
}

[[noreturn]] void fail_parse(const CLI::App& app, const CLI::ParseError& error) {
  const std::string command = app.get_name().substr(app.get_name().find(' ') + 1);
  for (const std::string& extra : app.remaining()) {
    if (!extra.starts_with("-")) continue;
    const std::string name = extra.substr(0, extra.find('='));
    fail(ErrorCode::invalid_argument, "{}: unknown option '{}'{}; '{} --help' lists the options", command, name,
         did_you_mean(name, option_names(app)), app.get_name());
  }
  if (!app.remaining().empty()) {
    fail(ErrorCode::invalid_argument, "{}: unexpected argument '{}'; see '{} --help'", command, app.remaining().front(),
         app.get_name());
  }
  fail(ErrorCode::invalid_argument, "{}: {}; see '{} --help'", command, error.what(), app.get_name());
}

void run(const Command& command, std::vector<std::string> arguments) {
  Settings settings;
  CLI::App app(std::string("caravan ") + std::string(command.name) + ": " + std::string(command.summary),
               "caravan " + std::string(command.name));
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.get_formatter()->column_width(34);
  app.get_formatter()->label("REQUIRED", "(required)");
  Run action = command.setup(app, settings);
  app.add_option("-t,--threads", settings.threads, "CPU threads (default: all cores)")->check(CLI::Range(1, 4096));
  app.add_flag_callback(
      "-v,--verbose", [&] { settings.verbosity = 1; }, "more logs on stderr");
  app.add_flag_callback(
      "-q,--quiet", [&] { settings.verbosity = -1; }, "no progress on stderr, errors only");
  accept_underscores(app, arguments);
  std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    return print(app.help());
  } catch (const CLI::ParseError& error) {
    fail_parse(app, error);
  } catch (const std::logic_error&) {  // CLI11 converts a flag's value ("--json=x") with std::stoll
    fail(ErrorCode::invalid_argument, "{}: a flag takes no value but true or false; see '{} --help'", app.get_name(),
         app.get_name());
  }
  set_verbosity(settings.verbosity);
  action();
}

}  // namespace

void add_model_argument(CLI::App& app, std::string& model, const std::string& help) {
  CLI::Option* option = app.add_option("model,-m,--model", model, help + " (needed, here or after -m)");
  option->type_name("MODEL");
  app.parse_complete_callback([&model, command = app.get_name()] {
    check(!model.empty(), ErrorCode::invalid_argument, "{}: no model is given: {} MODEL; see '{} --help'",
          command.substr(command.find(' ') + 1), command, command);
  });
}

std::span<const Command> commands() { return kCommands; }

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
