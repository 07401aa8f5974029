// A command declares its options on a CLI::App and gives back what to run after parsing.
//
//   Run setup_info(CLI::App& app, const Settings& settings) {
//     auto json = std::make_shared<bool>(false);
//     app.add_flag("--json", *json, "print JSON");
//     return [=, &settings] { print_info(*json, settings); };
//   }
//
// Adding one touches its file and one line of commands.inc. Results go to stdout, progress and logs to stderr; what
// goes wrong is thrown as caravan::Error and becomes an exit code in main.cc.
#pragma once

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace caravan::cli {

// Options that every command has.
struct Settings {
  int threads = 0;    // 0: all cores
  int verbosity = 0;  // -q: -1, -v: 1
};

using Run = std::function<void()>;

struct Command {
  std::string_view name, summary;
  Run (*setup)(CLI::App& app, const Settings& settings);
};

std::span<const Command> commands();

// The model as an argument or after -m, for commands whose main object it is; two different ones are refused. `model`
// and `app` outlive the parsing.
void add_model_argument(CLI::App& app, std::string& model, const std::string& help, bool needed = true);

#define CARAVAN_COMMAND(name, summary) Run setup_##name(CLI::App& app, const Settings& settings);
#include "caravan/cli/commands.inc"
#undef CARAVAN_COMMAND

// For a command that has subcommands, one file and one line of a list each, like the commands themselves: what its
// setup returns. Options of every command (-t, -v, -q) may stand behind the subcommand.
Run setup_subcommands(CLI::App& app, const Settings& settings, std::span<const Command> subcommands);

// Parses the arguments after the program's name and runs the command. A request for help prints it. Throws Error:
// invalid_argument for a command line that makes no sense, and whatever the command throws.
void run_command_line(std::vector<std::string> arguments);

}  // namespace caravan::cli
