// Times as they stand in logs. Numbers are kept in the file's own unit (seconds, milliseconds ...); dates become
// seconds since 1970-01-01 UTC.
//
//   parse_time("881250949");                 // 881250949
//   parse_time("2014-07-22T10:15:30.5Z");    // 1406024130.5
//   parse_time("2014-07-22");                // 1405987200
#pragma once

#include <cmath>
#include <optional>
#include <string_view>

namespace caravan::data {

// Whole numbers from 2^53 on share their double with a neighbour: times that differ would count as equal, and the order
// of interactions would be lost. Epoch nanoseconds are that large.
inline bool is_exact_time(double time) { return std::abs(time) < 0x1p53; }
inline constexpr std::string_view kExactTime =
    "a number below 2^53, larger ones are not kept exactly (nanoseconds: divide them by 1000)";

// A finite number, or an ISO 8601 date "YYYY-MM-DD", optionally with "T" or " ", "HH:MM[:SS[.fraction]]" and "Z",
// "+HH:MM" or "+HHMM" (none: UTC). nullopt for anything else, days that do not exist included. Spaces around it are
// ignored.
std::optional<double> parse_time(std::string_view text);

// A finite decimal number, spaces around it ignored.
std::optional<double> parse_number(std::string_view text);

}  // namespace caravan::data
