// `caravan eval SUBCOMMAND`: measures.
#include "caravan/cli/eval.h"

namespace caravan::cli {

Run setup_eval(CLI::App& app, const Settings& settings) {
  static constexpr Command kSubcommands[] = {
#define CARAVAN_EVAL_COMMAND(name, summary) {#name, summary, setup_eval_##name},
#include "caravan/cli/eval_commands.inc"
#undef CARAVAN_EVAL_COMMAND
  };
  return setup_subcommands(app, settings, kSubcommands);
}

}  // namespace caravan::cli
