// The one exception type of the library, and helpers that throw it.
//
//   check(n > 0, ErrorCode::invalid_argument, "top_k must be positive, got {}", n);
//   fail_file(FileFault::truncated, path, offset, "header of {} bytes, {} bytes left", length, left);
//
// A message says where, what was expected, what came and what to do. Codes become exit codes in cli/main and HTTP
// statuses in serve/http, and nowhere else.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace caravan {

enum class ErrorCode {
  invalid_argument,  // the caller's value is wrong
  not_found,         // a file, tensor, token ... that does not exist
  corrupt_file,      // bytes that break their format's rules; `fault()` says which rule
  unsupported,       // valid, but not handled here
  out_of_memory,
  busy,       // try again later
  cancelled,  // stopped on request
  internal,   // a bug in Caravan
};

// Which rule a malformed input broke. `none` for errors that are not about a file's contents.
enum class FileFault {
  none,
  truncated,
  magic,
  version,
  limit,
  overflow,
  range,
  type,
  duplicate,
  layout,
  json,
  syntax,  // of a language other than JSON: a template, TOML, a regular expression
  utf8,
  unsupported,
  path,
  fuel,
  checksum,
  io,
};

std::string_view to_string(ErrorCode code);
std::string_view to_string(FileFault fault);

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message, FileFault fault = FileFault::none)
      : std::runtime_error(message), code_(code), fault_(fault) {}
  ErrorCode code() const noexcept { return code_; }
  FileFault fault() const noexcept { return fault_; }

 private:
  ErrorCode code_;
  FileFault fault_;
};

template <class... Args>
[[noreturn]] void fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

template <class... Args>
void check(bool condition, ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) [[unlikely]]
    fail(code, format, std::forward<Args>(args)...);
}

// Throws for malformed content: "PATH: [fault] MESSAGE". FileFault::unsupported maps to ErrorCode::unsupported, io to
// internal's neighbour not_found only where the caller says so; everything else to corrupt_file.
[[noreturn]] void throw_file_error(FileFault fault, std::string_view path, const std::string& message);

template <class... Args>
[[noreturn]] void fail_file(FileFault fault, std::string_view path, fmt::format_string<Args...> format,
                            Args&&... args) {
  throw_file_error(fault, path, fmt::format(format, std::forward<Args>(args)...));
}

template <class... Args>
void check_file(bool condition, FileFault fault, std::string_view path, fmt::format_string<Args...> format,
                Args&&... args) {
  if (!condition) [[unlikely]]
    fail_file(fault, path, format, std::forward<Args>(args)...);
}

}  // namespace caravan
