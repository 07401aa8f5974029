// The subcommands of `caravan items`: one line of items_commands.inc and one file items_NAME.cc each.
//
//   Run setup_items_build(CLI::App& app, const Settings& settings) { ... }     // as a command's (command.h)
#pragma once

#include "caravan/cli/command.h"

namespace caravan::cli {

#define CARAVAN_ITEMS_COMMAND(name, summary) Run setup_items_##name(CLI::App& app, const Settings& settings);
#include "caravan/cli/items_commands.inc"
#undef CARAVAN_ITEMS_COMMAND

}  // namespace caravan::cli
