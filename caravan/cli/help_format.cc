#include "caravan/cli/help_format.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>

namespace caravan::cli {
namespace {

constexpr size_t kNames = 34;  // columns of the options' names
constexpr size_t kLeast = 20;  // columns that a description keeps on the narrowest terminal

size_t columns_of(std::string_view text) {
  return static_cast<size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

size_t terminal_columns() {
  winsize size{};
  const bool is_terminal = isatty(STDOUT_FILENO) != 0 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0;
  return is_terminal ? size.ws_col : 0;
}

std::string broken_lines(const std::string& text, size_t width) {
  std::string out;
  size_t used = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find_first_of(" \n", at), text.size());
    const std::string word = text.substr(at, end - at);
    if (used > 0) {
      const bool fits = used + 1 + columns_of(word) <= width;
      out += fits ? ' ' : '\n';
      used = fits ? used + 1 : 0;
    }
    out += word;
    used += columns_of(word);
    if (end < text.size() && text[end] == '\n') out += '\n', used = 0;
    at = end + 1;
  }
  return out;
}

HelpFormatter::HelpFormatter(size_t columns) : columns_(columns) {
  column_width(kNames);
  label("REQUIRED", "(required)");
}

std::string HelpFormatter::make_option(const CLI::Option* option, bool is_positional) const {
  std::string description = make_option_desc(option);
  if (columns_ > 0) description = broken_lines(description, std::max(columns_, kNames + kLeast) - kNames);
  std::stringstream out;
  CLI::detail::format_help(out, make_option_name(option, is_positional) + make_option_opts(option), description,
                           column_width_);
  return out.str();
}

}  // namespace caravan::cli
