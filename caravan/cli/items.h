// The subcommands of `caravan items`: one line of items_commands.inc and one file items_NAME.cc each.
//
//   Run setup_items_build(CLI::App& app, const Settings& settings) { ... }     // as a command's (command.h)
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/cli/command.h"

namespace caravan::cli {

// The folder is there, or is made, with those above it. invalid_argument where something else has its name.
void make_output_folder(const std::string& path);

// Throws invalid_argument where one of the files is there; --overwrite is what the caller has not been given.
void check_not_there(std::string_view command, std::span<const std::string> paths);
std::vector<std::string> paths_in(const std::string& folder, std::span<const std::string_view> names);

// What a code tokenizer is written to (codes/code_tokenizer.h).
constexpr std::string_view kTokenizerFiles[] = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"};

#define CARAVAN_ITEMS_COMMAND(name, summary) Run setup_items_##name(CLI::App& app, const Settings& settings);
#include "caravan/cli/items_commands.inc"
#undef CARAVAN_ITEMS_COMMAND

}  // namespace caravan::cli
