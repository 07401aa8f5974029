// Arguments before CLI11 parses them, by the options that a command declares: what CLI11 itself takes amiss. A value
// that an option takes is never read as an option, whatever it looks like (-p "--top_k=x").
#pragma once

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <string>
#include <vector>

namespace caravan::cli {

// The app's whole name: "caravan eval perplexity".
std::string full_name(const CLI::App& app);

// "--max_new_tokens" becomes "--max-new-tokens" where only the latter exists, "-m=tiny" becomes "-m" "tiny", and
// "--svg=" becomes "--svg" "". Throws invalid_argument naming the flag whose value is neither true nor false, or the
// option whose list has an empty place ("4,,8").
void normalize_arguments(const CLI::App& app, std::vector<std::string>& arguments);

// From here on options that take a value refuse an empty one: it names no file, model, type or number, and mostly comes
// of a shell's variable that is not set. Options that take a text stay as they are.
void refuse_empty_values(CLI::App& app);

}  // namespace caravan::cli
