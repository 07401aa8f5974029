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

void check_not_there(std::string_view command, std::span<const std::string> paths) {
  for (const std::string& path : paths) {
    check(!file_exists(path), ErrorCode::invalid_argument,
          "{}: '{}' exists already; choose another folder (-o), or --overwrite to replace what is there", command,
          path);
  }
}

std::vector<std::string> paths_in(const std::string& folder, std::span<const std::string_view> names) {
  std::vector<std::string> paths;
  for (const std::string_view name : names) paths.push_back(fmt::format("{}/{}", folder, name));
  return paths;
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
