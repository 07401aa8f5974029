// `caravan items SUBCOMMAND`: prepares a recommendation dataset and its items.
#include "caravan/cli/items.h"

namespace caravan::cli {

Run setup_items(CLI::App& app, const Settings& settings) {
  static constexpr Command kSubcommands[] = {
#define CARAVAN_ITEMS_COMMAND(name, summary) {#name, summary, setup_items_##name},
#include "caravan/cli/items_commands.inc"
#undef CARAVAN_ITEMS_COMMAND
  };
  return setup_subcommands(app, settings, kSubcommands);
}

}  // namespace caravan::cli
