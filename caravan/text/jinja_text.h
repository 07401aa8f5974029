// Python's str methods on UTF-8 text: lengths, slices and positions count code points, case and character classes are
// Unicode's (utf8proc, plus the expansions of SpecialCasing.txt that Python applies without a locale).
//
//   upper("straße") == "STRASSE";   slice(text, -3, ...);   split_whitespace(" a  b ") == {"a", "b"}
//
// Inputs must be valid UTF-8.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace caravan::text::jinja {

char32_t next_code_point(std::string_view s, size_t& i);  // moves i past it
void append_code_point(std::string& s, char32_t c);
bool is_ascii(std::string_view s);
size_t code_points(std::string_view s);
std::vector<size_t> code_point_offsets(std::string_view s);  // n + 1 byte positions
size_t byte_offset(std::string_view s, size_t index);        // of the index-th code point; s.size() past the end
bool valid_utf8(std::string_view s);
std::string sanitize_utf8(std::string_view s);  // invalid bytes become U+FFFD

bool is_space(char32_t c);
bool is_printable(char32_t c);
bool is_alpha(char32_t c);
bool is_decimal(char32_t c);
bool is_digit(char32_t c);
bool is_numeric(char32_t c);
bool is_upper(char32_t c);
bool is_lower(char32_t c);
bool is_title(char32_t c);
bool is_word(char32_t c);  // \w of Python's re

std::string upper(std::string_view s);
std::string lower(std::string_view s);
std::string capitalize(std::string_view s);
std::string title(std::string_view s);
std::string swapcase(std::string_view s);
std::string casefold(std::string_view s);

enum class Side { both, left, right };
std::string_view strip(std::string_view s, Side side = Side::both);
std::string_view strip(std::string_view s, std::string_view chars, Side side = Side::both);

std::vector<std::string> split_whitespace(std::string_view s, int64_t max = -1);
std::vector<std::string> split(std::string_view s, std::string_view separator, int64_t max = -1);
std::vector<std::string> rsplit_whitespace(std::string_view s, int64_t max = -1);
std::vector<std::string> rsplit(std::string_view s, std::string_view separator, int64_t max = -1);
std::vector<std::string> splitlines(std::string_view s, bool keep_ends = false);

std::string repr_string(std::string_view s);  // Python's repr of a str
std::string json_string(std::string_view s, bool ensure_ascii);

}  // namespace caravan::text::jinja
