#include "caravan/data/time.h"

#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <system_error>

#include "caravan/data/words.h"

namespace caravan::data {
namespace {

// Takes exactly `digits` digits off the front; -1 where they are not there.
int take_digits(std::string_view& text, size_t digits) {
  int value = 0;
  if (text.size() < digits) return -1;
  for (size_t i = 0; i < digits; ++i) {
    if (text[i] < '0' || text[i] > '9') return -1;
    value = value * 10 + (text[i] - '0');
  }
  text.remove_prefix(digits);
  return value;
}

bool take(std::string_view& text, char c) {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

// "10:15[:30[.5]]" in seconds; negative where it is none.
double take_clock(std::string_view& text) {
  const int hours = take_digits(text, 2);
  const int minutes = take(text, ':') ? take_digits(text, 2) : -1;
  if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) return -1;
  double seconds = 0;
  if (take(text, ':')) {
    const int whole = take_digits(text, 2);
    if (whole < 0 || whole > 60) return -1;  // 60: a leap second
    seconds = whole;
    if (text.starts_with('.')) {
      const auto [end, error] =
          std::from_chars(text.data(), text.data() + text.size(), seconds, std::chars_format::fixed);
      if (error != std::errc()) return -1;
      seconds += whole;
      text.remove_prefix(static_cast<size_t>(end - text.data()));
    }
  }
  return hours * 3600.0 + minutes * 60.0 + seconds;
}

// "Z", "+02:00", "-0530" in seconds east of UTC; nullopt where it is none.
std::optional<double> parse_zone(std::string_view text) {
  if (text.empty() || text == "Z" || text == "UTC" || text == "GMT") return 0.0;
  const double sign = text.front() == '-' ? -1.0 : 1.0;
  if (!take(text, '+') && !take(text, '-')) return std::nullopt;
  const int hours = take_digits(text, 2);
  take(text, ':');
  const int minutes = text.empty() ? 0 : take_digits(text, 2);
  if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59 || !text.empty()) return std::nullopt;
  return sign * (hours * 3600.0 + minutes * 60.0);
}

std::optional<double> parse_date(std::string_view text) {
  const int year = take_digits(text, 4);
  if (year < 0 || !take(text, '-')) return std::nullopt;
  const int month = take_digits(text, 2);
  if (month < 0 || !take(text, '-')) return std::nullopt;
  const int day = take_digits(text, 2);
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (day < 0 || !date.ok()) return std::nullopt;
  const double days = static_cast<double>(std::chrono::sys_days(date).time_since_epoch().count());
  if (text.empty()) return days * 86400.0;
  if (!take(text, 'T') && !take(text, ' ')) return std::nullopt;
  const double clock = take_clock(text);
  if (clock < 0) return std::nullopt;
  take(text, ' ');
  const std::optional<double> zone = parse_zone(text);
  if (!zone) return std::nullopt;
  return days * 86400.0 + clock - *zone;
}

}  // namespace

std::optional<double> parse_number(std::string_view text) {
  text = trimmed(text);
  if (text.starts_with('+')) text.remove_prefix(1);
  int64_t whole = 0;  // most numbers in logs, and much faster
  const char* const end = text.data() + text.size();
  if (const auto result = std::from_chars(text.data(), end, whole); result.ec == std::errc() && result.ptr == end)
    return static_cast<double>(whole);
  double number = 0;
  const auto result = std::from_chars(text.data(), end, number);
  if (result.ec != std::errc() || result.ptr != end || !std::isfinite(number)) return std::nullopt;
  return number;
}

std::optional<double> parse_time(std::string_view text) {
  if (const std::optional<double> number = parse_number(text)) return number;
  return parse_date(trimmed(text));
}

}  // namespace caravan::data
