// Lines on stderr beside the results: "caravan: ..." at the level that -q and -v set. (spdlog's headers do not compile
// beside the fmt that libtorch ships; a command-line program needs no more than this.)
//
//   log_info("{} tokens left out", n);
#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace caravan::cli {

// -1: errors only, 0: also information and warnings, 1: also details.
void set_verbosity(int verbosity);
void log_line(int level, std::string_view line);  // printed where level <= verbosity

template <class... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  log_line(0, fmt::format(format, std::forward<Args>(args)...));
}

template <class... Args>
void log_detail(fmt::format_string<Args...> format, Args&&... args) {
  log_line(1, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace caravan::cli
