// The subcommands of `caravan items`: one line of items_commands.inc and one file items_NAME.cc each.
//
//   Run setup_items_build(CLI::App& app, const Settings& settings) { ... }     // as a command's (command.h)
#pragma once

#include <string>

#include "caravan/cli/command.h"

namespace caravan::cli {

// The folder is there, or is made, with those above it. invalid_argument where something else has its name.
void make_output_folder(const std::string& path);

#define CARAVAN_ITEMS_COMMAND(name, summary) Run setup_items_##name(CLI::App& app, const Settings& settings);
#include "caravan/cli/items_commands.inc"
#undef CARAVAN_ITEMS_COMMAND

}  // namespace caravan::cli
