// The subcommands of `caravan eval`: one line of eval_commands.inc and one file eval_NAME.cc each.
#pragma once

#include "caravan/cli/command.h"

namespace caravan::cli {

#define CARAVAN_EVAL_COMMAND(name, summary) Run setup_eval_##name(CLI::App& app, const Settings& settings);
#include "caravan/cli/eval_commands.inc"
#undef CARAVAN_EVAL_COMMAND

}  // namespace caravan::cli
