#include "caravan/cli/output.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "caravan/base/error.h"

namespace caravan::cli {
namespace {

[[noreturn]] void fail_output() {
  if (errno == EPIPE) throw BrokenPipe{};
  throw Error(ErrorCode::internal, fmt::format("writing to standard output failed: {}", std::strerror(errno)),
              FileFault::io);
}

// 134515008 with units {"", "K", "M", ...}: three significant digits or more.
std::string scaled(double value, const char* const* units, size_t n) {
  size_t unit = 0;
  while (value >= 999.95 && unit + 1 < n) value /= 1000, ++unit;
  return unit == 0 ? fmt::format("{:.0f}{}", value, units[0]) : fmt::format("{:.1f} {}", value, units[unit]);
}

}  // namespace

void print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) fail_output();
}

void flush_output() {
  if (std::fflush(stdout) != 0) fail_output();
}

void print_json(const Json& json, int indent) { print(dump_json(json, indent) + "\n"); }

void append_json_string(std::string& to, std::string_view text) {
  const bool plain = std::all_of(text.begin(), text.end(),
                                 [](unsigned char c) { return c >= 0x20 && c < 0x7f && c != '"' && c != '\\'; });
  if (plain) {
    to.append(1, '"').append(text).append(1, '"');
  } else {
    to.append(dump_json(Json(text), -1));
  }
}

std::string human_bytes(uint64_t bytes) {
  static const char* const units[] = {" B", "kB", "MB", "GB", "TB", "PB", "EB"};
  return scaled(static_cast<double>(bytes), units, std::size(units));
}

std::string human_count(uint64_t count) {
  static const char* const units[] = {"", "K", "M", "G", "T", "P", "E"};
  return scaled(static_cast<double>(count), units, std::size(units));
}

std::string with_commas(uint64_t number) {
  const std::string digits = std::to_string(number);
  std::string grouped;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) grouped += ',';
    grouped += digits[i];
  }
  return grouped;
}

}  // namespace caravan::cli
