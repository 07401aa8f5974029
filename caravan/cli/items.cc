// `caravan items SUBCOMMAND`: prepares a recommendation dataset and its items.
#include "caravan/cli/items.h"

#include <filesystem>
#include <system_error>

#include "caravan/base/error.h"
#include "caravan/base/file.h"

namespace caravan::cli {

void make_output_folder(const std::string& path) {
  std::error_code problem;
  std::filesystem::create_directories(path, problem);
  check(!problem && is_folder(path), ErrorCode::invalid_argument, "-o {}: the folder cannot be made: {}", path,
        problem ? problem.message() : "a file has its name");
}

Run setup_items(CLI::App& app, const Settings& settings) {
  static constexpr Command kSubcommands[] = {
#define CARAVAN_ITEMS_COMMAND(name, summary) {#name, summary, setup_items_##name},
#include "caravan/cli/items_commands.inc"
#undef CARAVAN_ITEMS_COMMAND
  };
  return setup_subcommands(app, settings, kSubcommands);
}

}  // namespace caravan::cli
