// How --help looks: descriptions of options are broken between words where a terminal shows them.
//
//   app.formatter(std::make_shared<HelpFormatter>(terminal_columns()));
#pragma once

#include <cstddef>
#include <string>

#include "caravan/cli/command.h"

namespace caravan::cli {

// Columns of the terminal that standard output is; 0 where it is none, and lines are left as they are.
size_t terminal_columns();

// Line breaks in place of spaces, so that no line has more than `width` columns unless a word has. Text is UTF-8.
std::string broken_lines(const std::string& text, size_t width);

class HelpFormatter final : public CLI::Formatter {
 public:
  explicit HelpFormatter(size_t columns);  // 0: no limit
  std::string make_option(const CLI::Option* option, bool is_positional) const override;

 private:
  size_t columns_;
};

}  // namespace caravan::cli
