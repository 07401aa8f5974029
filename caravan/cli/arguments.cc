#include "caravan/cli/arguments.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "caravan/base/error.h"

namespace caravan::cli {
namespace {

// Texts, and lists that say themselves what an empty one lacks.
constexpr std::string_view kMayBeEmpty[] = {"--prompt",    "--text",      "--system",    "--history",
                                            "--pad-token", "--unk-token", "--bos-token", "--eos-token"};

constexpr std::string_view kFlagValues[] = {"true", "false", "on", "off", "yes", "no", "1", "0"};

// "--top-k=3" and "-m=tiny" bring their value along.
struct Parts {
  std::string name;
  std::optional<std::string> value;
};

bool is_short(const std::string& argument) { return argument.size() > 1 && argument[0] == '-' && argument[1] != '-'; }

Parts parts_of(const std::string& argument) {
  const size_t end = argument.find('=');
  if (end == std::string::npos || (is_short(argument) && end != 2)) return {argument, std::nullopt};
  return {argument.substr(0, end), argument.substr(end + 1)};
}

// The app and the subcommand that is asked for: what their options are.
std::vector<const CLI::Option*> options_of(const CLI::App& app, const std::vector<std::string>& arguments) {
  std::vector<const CLI::Option*> options = app.get_options();
  for (const CLI::App* subcommand : app.get_subcommands({})) {
    if (std::ranges::find(arguments, subcommand->get_name()) == arguments.end()) continue;
    const std::vector<const CLI::Option*> own = subcommand->get_options();
    options.insert(options.end(), own.begin(), own.end());
  }
  return options;
}

const CLI::Option* find_option(const std::vector<const CLI::Option*>& options, const std::string& name) {
  const bool is_long = name.size() > 2 && name.starts_with("--");
  if (!is_long && !(is_short(name) && name.size() == 2)) return nullptr;
  for (const CLI::Option* option : options) {
    if (is_long ? option->check_lname(name.substr(2)) : option->check_sname(name.substr(1))) return option;
  }
  return nullptr;
}

bool is_flag(const CLI::Option& option) { return option.get_items_expected_max() == 0; }

// The argument as CLI11 understands it: "-q=true" is none.
std::string flag_argument(const CLI::App& app, const CLI::Option& option, const Parts& parts) {
  if (!parts.value) return parts.name;
  const std::string name = full_name(app);
  check(std::ranges::find(kFlagValues, *parts.value) != std::end(kFlagValues), ErrorCode::invalid_argument,
        "{}: {}: expected true or false, got '{}'; see '{} --help'", name.substr(name.find(' ') + 1), parts.name,
        *parts.value, name);
  const std::string& long_name = option.get_lnames().empty() ? parts.name : "--" + option.get_lnames().front();
  return long_name + "=" + *parts.value;
}

// CLI11 leaves empty places of a list out: a value that was meant, or a slip.
void check_list(const CLI::App& app, const CLI::Option& option, const std::string& name, const std::string& value) {
  const char delimiter = option.get_delimiter();
  if (delimiter == 0 || value.empty()) return;
  const bool has_gap = value.front() == delimiter || value.back() == delimiter ||
                       value.find(std::string(2, delimiter)) != std::string::npos;
  const std::string command = full_name(app);
  check(!has_gap, ErrorCode::invalid_argument, "{}: {}: '{}' has an empty place; see '{} --help'",
        command.substr(command.find(' ') + 1), name, value, command);
}

}  // namespace

std::string full_name(const CLI::App& app) {
  return app.get_parent() == nullptr ? app.get_name() : full_name(*app.get_parent()) + " " + app.get_name();
}

void normalize_arguments(const CLI::App& app, std::vector<std::string>& arguments) {
  const std::vector<const CLI::Option*> options = options_of(app, arguments);
  std::vector<std::string> normal;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--") {
      normal.insert(normal.end(), arguments.begin() + static_cast<std::ptrdiff_t>(i), arguments.end());
      break;
    }
    Parts parts = parts_of(arguments[i]);
    const CLI::Option* option = find_option(options, parts.name);
    if (option == nullptr && parts.name.starts_with("--")) {
      std::string name = parts.name;
      std::replace(name.begin(), name.end(), '_', '-');
      option = find_option(options, name);
      if (option != nullptr) parts.name = name;
    }
    if (option == nullptr) {
      normal.push_back(arguments[i]);
    } else if (is_flag(*option)) {
      normal.push_back(flag_argument(app, *option, parts));
    } else if (!parts.value) {
      normal.push_back(parts.name);
      if (option->get_items_expected_min() > 0 && i + 1 < arguments.size()) {
        check_list(app, *option, parts.name, arguments[++i]);
        normal.push_back(arguments[i]);
      }
    } else {
      check_list(app, *option, parts.name, *parts.value);
      if (is_short(parts.name) || parts.value->empty()) {
        normal.insert(normal.end(), {parts.name, *parts.value});
      } else {
        normal.push_back(parts.name + "=" + *parts.value);
      }
    }
  }
  arguments = std::move(normal);
}

void refuse_empty_values(CLI::App& app) {
  for (CLI::App* subcommand : app.get_subcommands({})) refuse_empty_values(*subcommand);
  for (CLI::Option* option : app.get_options()) {
    const bool may_be_empty = std::ranges::any_of(
        kMayBeEmpty, [&](std::string_view name) { return option->check_lname(std::string(name.substr(2))); });
    if (is_flag(*option) || may_be_empty) continue;
    option->transform(CLI::Validator(  // comes before what else checks the value
        [](std::string& value) {
          return value.empty() ? std::string("the value is empty: give one, or leave the option out") : std::string();
        },
        ""));
  }
}

}  // namespace caravan::cli
