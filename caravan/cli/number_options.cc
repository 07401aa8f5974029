#include "caravan/cli/number_options.h"

#include <charconv>
#include <cmath>
#include <optional>
#include <system_error>

#include "caravan/base/error.h"

namespace caravan::cli {
namespace {

template <class Number>
std::optional<Number> parse(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  Number number{};
  const char* const end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, number);
  if (result.ec != std::errc() || result.ptr != end || text.empty()) return std::nullopt;
  return number;
}

// "" where it is right, as CLI11 wants it.
std::string answer(bool right, const std::string& expected, const std::string& got) {
  return right ? "" : fmt::format("expected {}, got '{}'", expected, got);
}

}  // namespace

CLI::Validator whole(int64_t least, int64_t most) {
  const auto check = [=](const std::string& text) {
    const auto number = parse<int64_t>(text);
    const bool right = number && *number >= least && *number <= most;
    return answer(right, fmt::format("a whole number from {} to {}", least, most), text);
  };
  return {check, ""};
}

CLI::Validator real(double least, double most) {
  const auto check = [=](const std::string& text) {
    const auto number = parse<double>(text);
    const bool right = number && *number >= least && *number <= most;  // NaN is neither
    return answer(right, fmt::format("a number from {} to {}", least, most), text);
  };
  return {check, ""};
}

CLI::Validator real_above(double bound, double most) {
  const auto check = [=](const std::string& text) {
    const auto number = parse<double>(text);
    const bool right = number && *number > bound && *number <= most;
    return answer(right, fmt::format("a number above {}, at most {}", bound, most), text);
  };
  return {check, ""};
}

CLI::Validator filled() {
  const auto check = [](const std::string& text) { return answer(!text.empty(), "a value", text); };
  return {check, ""};
}

void check_companions(const CLI::App& app, bool met, std::initializer_list<const char*> options,
                      std::string_view needs) {
  if (met) return;
  for (const char* option : options) {
    check(app.get_option(option)->count() == 0, ErrorCode::invalid_argument, "{} says nothing without {}: leave it out",
          option, needs);
  }
}

}  // namespace caravan::cli
