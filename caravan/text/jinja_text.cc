// See jinja_text.h. Character classes follow CPython's unicodetype.c, methods its unicodeobject.c.
// Left out: the rarely used Numeric_Type of ideographs and vulgar fractions beyond category N*.
#include "caravan/text/jinja_text.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <cstring>

namespace caravan::text::jinja {
namespace {

struct Expansion {
  char32_t from;
  const char* upper;
  const char* title;
};

// SpecialCasing.txt: characters whose upper or title case is more than one character (Unicode 14, as Python 3.11 has
// it).
constexpr Expansion kExpansions[] = {
    {0x00df, "SS", "Ss"}, {0x0149, "ʼN", "ʼN"}, {0x01f0, "J̌", "J̌"},   {0x0390, "Ϊ́", "Ϊ́"},     {0x03b0, "Ϋ́", "Ϋ́"},
    {0x0587, "ԵՒ", "Եւ"}, {0x1e96, "H̱", "H̱"},   {0x1e97, "T̈", "T̈"},   {0x1e98, "W̊", "W̊"},     {0x1e99, "Y̊", "Y̊"},
    {0x1e9a, "Aʾ", "Aʾ"}, {0x1f50, "Υ̓", "Υ̓"},   {0x1f52, "Υ̓̀", "Υ̓̀"},   {0x1f54, "Υ̓́", "Υ̓́"},     {0x1f56, "Υ̓͂", "Υ̓͂"},
    {0x1f80, "ἈΙ", "ᾈ"},  {0x1f81, "ἉΙ", "ᾉ"},  {0x1f82, "ἊΙ", "ᾊ"},  {0x1f83, "ἋΙ", "ᾋ"},    {0x1f84, "ἌΙ", "ᾌ"},
    {0x1f85, "ἍΙ", "ᾍ"},  {0x1f86, "ἎΙ", "ᾎ"},  {0x1f87, "ἏΙ", "ᾏ"},  {0x1f88, "ἈΙ", "ᾈ"},    {0x1f89, "ἉΙ", "ᾉ"},
    {0x1f8a, "ἊΙ", "ᾊ"},  {0x1f8b, "ἋΙ", "ᾋ"},  {0x1f8c, "ἌΙ", "ᾌ"},  {0x1f8d, "ἍΙ", "ᾍ"},    {0x1f8e, "ἎΙ", "ᾎ"},
    {0x1f8f, "ἏΙ", "ᾏ"},  {0x1f90, "ἨΙ", "ᾘ"},  {0x1f91, "ἩΙ", "ᾙ"},  {0x1f92, "ἪΙ", "ᾚ"},    {0x1f93, "ἫΙ", "ᾛ"},
    {0x1f94, "ἬΙ", "ᾜ"},  {0x1f95, "ἭΙ", "ᾝ"},  {0x1f96, "ἮΙ", "ᾞ"},  {0x1f97, "ἯΙ", "ᾟ"},    {0x1f98, "ἨΙ", "ᾘ"},
    {0x1f99, "ἩΙ", "ᾙ"},  {0x1f9a, "ἪΙ", "ᾚ"},  {0x1f9b, "ἫΙ", "ᾛ"},  {0x1f9c, "ἬΙ", "ᾜ"},    {0x1f9d, "ἭΙ", "ᾝ"},
    {0x1f9e, "ἮΙ", "ᾞ"},  {0x1f9f, "ἯΙ", "ᾟ"},  {0x1fa0, "ὨΙ", "ᾨ"},  {0x1fa1, "ὩΙ", "ᾩ"},    {0x1fa2, "ὪΙ", "ᾪ"},
    {0x1fa3, "ὫΙ", "ᾫ"},  {0x1fa4, "ὬΙ", "ᾬ"},  {0x1fa5, "ὭΙ", "ᾭ"},  {0x1fa6, "ὮΙ", "ᾮ"},    {0x1fa7, "ὯΙ", "ᾯ"},
    {0x1fa8, "ὨΙ", "ᾨ"},  {0x1fa9, "ὩΙ", "ᾩ"},  {0x1faa, "ὪΙ", "ᾪ"},  {0x1fab, "ὫΙ", "ᾫ"},    {0x1fac, "ὬΙ", "ᾬ"},
    {0x1fad, "ὭΙ", "ᾭ"},  {0x1fae, "ὮΙ", "ᾮ"},  {0x1faf, "ὯΙ", "ᾯ"},  {0x1fb2, "ᾺΙ", "Ὰͅ"},    {0x1fb3, "ΑΙ", "ᾼ"},
    {0x1fb4, "ΆΙ", "Άͅ"},  {0x1fb6, "Α͂", "Α͂"},   {0x1fb7, "Α͂Ι", "ᾼ͂"},  {0x1fbc, "ΑΙ", "ᾼ"},    {0x1fc2, "ῊΙ", "Ὴͅ"},
    {0x1fc3, "ΗΙ", "ῌ"},  {0x1fc4, "ΉΙ", "Ήͅ"},  {0x1fc6, "Η͂", "Η͂"},   {0x1fc7, "Η͂Ι", "ῌ͂"},    {0x1fcc, "ΗΙ", "ῌ"},
    {0x1fd2, "Ϊ̀", "Ϊ̀"},   {0x1fd3, "Ϊ́", "Ϊ́"},   {0x1fd6, "Ι͂", "Ι͂"},   {0x1fd7, "Ϊ͂", "Ϊ͂"},     {0x1fe2, "Ϋ̀", "Ϋ̀"},
    {0x1fe3, "Ϋ́", "Ϋ́"},   {0x1fe4, "Ρ̓", "Ρ̓"},   {0x1fe6, "Υ͂", "Υ͂"},   {0x1fe7, "Ϋ͂", "Ϋ͂"},     {0x1ff2, "ῺΙ", "Ὼͅ"},
    {0x1ff3, "ΩΙ", "ῼ"},  {0x1ff4, "ΏΙ", "Ώͅ"},  {0x1ff6, "Ω͂", "Ω͂"},   {0x1ff7, "Ω͂Ι", "ῼ͂"},    {0x1ffc, "ΩΙ", "ῼ"},
    {0xfb00, "FF", "Ff"}, {0xfb01, "FI", "Fi"}, {0xfb02, "FL", "Fl"}, {0xfb03, "FFI", "Ffi"}, {0xfb04, "FFL", "Ffl"},
    {0xfb05, "ST", "St"}, {0xfb06, "ST", "St"}, {0xfb13, "ՄՆ", "Մն"}, {0xfb14, "ՄԵ", "Մե"},   {0xfb15, "ՄԻ", "Մի"},
    {0xfb16, "ՎՆ", "Վն"}, {0xfb17, "ՄԽ", "Մխ"},
};

const Expansion* find_expansion(char32_t c) {
  if (c < 0xdf) return nullptr;
  const auto* it = std::lower_bound(std::begin(kExpansions), std::end(kExpansions), c,
                                    [](const Expansion& e, char32_t v) { return e.from < v; });
  return it != std::end(kExpansions) && it->from == c ? it : nullptr;
}

utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

void append_upper(std::string& out, char32_t c) {
  if (const Expansion* e = find_expansion(c))
    out += e->upper;
  else
    append_code_point(out, static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))));
}

void append_title(std::string& out, char32_t c) {
  if (const Expansion* e = find_expansion(c))
    out += e->title;
  else
    append_code_point(out, static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c))));
}

bool is_cased(char32_t c) { return is_upper(c) || is_lower(c) || is_title(c); }

bool is_case_ignorable(char32_t c) {
  if (c == '\'' || c == '.' || c == ':' || c == '^' || c == '`' || c == 0xb7 || c == 0x2019) return true;
  switch (category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      return false;
  }
}

size_t previous_code_point(std::string_view s, size_t i) {
  do --i;
  while (i > 0 && (static_cast<unsigned char>(s[i]) & 0xc0) == 0x80);
  return i;
}

// A sigma at [begin, end) ends a word: a cased letter before it and none after it, case-ignorable ones skipped.
bool is_final_sigma(std::string_view s, size_t begin, size_t end) {
  bool cased = false;
  for (size_t i = begin; i > 0;) {
    i = previous_code_point(s, i);
    size_t j = i;
    const char32_t c = next_code_point(s, j);
    if (is_case_ignorable(c)) continue;
    cased = is_cased(c);
    break;
  }
  if (!cased) return false;
  for (size_t i = end; i < s.size();) {
    const char32_t c = next_code_point(s, i);
    if (!is_case_ignorable(c)) return !is_cased(c);
  }
  return true;
}

void append_lower(std::string& out, std::string_view s, size_t begin, size_t end, char32_t c) {
  if (c == 0x130)
    out += "i\xcc\x87";
  else if (c == 0x3a3)
    append_code_point(out, is_final_sigma(s, begin, end) ? 0x3c2 : 0x3c3);
  else
    append_code_point(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
}

template <class F>
void for_each(std::string_view s, F f) {
  for (size_t i = 0; i < s.size();) {
    const size_t begin = i;
    const char32_t c = next_code_point(s, i);
    f(c, begin, i);
  }
}

bool is_line_break(char32_t c) {
  return (c >= 0x0a && c <= 0x0d) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

}  // namespace

char32_t next_code_point(std::string_view s, size_t& i) {
  const auto byte = [&](size_t k) { return static_cast<char32_t>(static_cast<unsigned char>(s[k])); };
  const char32_t b = byte(i);
  if (b < 0x80) return ++i, b;
  const size_t n = b >= 0xf0 ? 4 : b >= 0xe0 ? 3 : 2;
  if (i + n > s.size()) return i = s.size(), 0xfffd;
  char32_t c = b & (0xff >> (n + 1));
  for (size_t k = 1; k < n; ++k) c = c << 6 | (byte(i + k) & 0x3f);
  i += n;
  return c;
}

void append_code_point(std::string& s, char32_t c) {
  if (c < 0x80) {
    s += static_cast<char>(c);
  } else if (c < 0x800) {
    s += {static_cast<char>(0xc0 | c >> 6), static_cast<char>(0x80 | (c & 0x3f))};
  } else if (c < 0x10000) {
    s += {static_cast<char>(0xe0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 0x3f)),
          static_cast<char>(0x80 | (c & 0x3f))};
  } else {
    s += {static_cast<char>(0xf0 | c >> 18), static_cast<char>(0x80 | (c >> 12 & 0x3f)),
          static_cast<char>(0x80 | (c >> 6 & 0x3f)), static_cast<char>(0x80 | (c & 0x3f))};
  }
}

bool is_ascii(std::string_view s) {
  size_t i = 0;
  for (; i + 8 <= s.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, s.data() + i, 8);
    if (word & 0x8080808080808080ull) return false;
  }
  for (; i < s.size(); ++i) {
    if (s[i] & 0x80) return false;
  }
  return true;
}

size_t code_points(std::string_view s) {
  return static_cast<size_t>(std::count_if(s.begin(), s.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::vector<size_t> code_point_offsets(std::string_view s) {
  std::vector<size_t> offsets;
  for (size_t i = 0; i < s.size(); ++i) {
    if ((s[i] & 0xc0) != 0x80) offsets.push_back(i);
  }
  offsets.push_back(s.size());
  return offsets;
}

size_t byte_offset(std::string_view s, size_t index) {
  for (size_t i = 0; i < s.size(); ++i) {
    if ((s[i] & 0xc0) != 0x80 && index-- == 0) return i;
  }
  return s.size();
}

bool valid_utf8(std::string_view s) {
  for (size_t i = 0; i < s.size();) {
    utf8proc_int32_t c;
    const auto n = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(s.data() + i),
                                    static_cast<utf8proc_ssize_t>(s.size() - i), &c);
    if (n <= 0) return false;
    i += static_cast<size_t>(n);
  }
  return true;
}

std::string sanitize_utf8(std::string_view s) {
  std::string out;
  for (size_t i = 0; i < s.size();) {
    utf8proc_int32_t c;
    const auto n = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(s.data() + i),
                                    static_cast<utf8proc_ssize_t>(s.size() - i), &c);
    append_code_point(out, n > 0 ? static_cast<char32_t>(c) : 0xfffd);
    i += n > 0 ? static_cast<size_t>(n) : 1;
  }
  return out;
}

bool is_space(char32_t c) {
  return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool is_printable(char32_t c) {
  if (c == ' ') return true;
  switch (category(c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

bool is_alpha(char32_t c) {
  const auto k = category(c);
  return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}
bool is_decimal(char32_t c) { return category(c) == UTF8PROC_CATEGORY_ND; }
bool is_digit(char32_t c) {
  return is_decimal(c) || c == 0xb2 || c == 0xb3 || c == 0xb9 || c == 0x2070 || (c >= 0x2074 && c <= 0x2079) ||
         (c >= 0x2080 && c <= 0x2089) || (c >= 0x2460 && c <= 0x2468);
}
bool is_numeric(char32_t c) {
  const auto k = category(c);
  return k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
}
bool is_upper(char32_t c) {
  return category(c) == UTF8PROC_CATEGORY_LU || (c >= 0x2160 && c <= 0x216f) || (c >= 0x24b6 && c <= 0x24cf);
}
bool is_lower(char32_t c) {
  return category(c) == UTF8PROC_CATEGORY_LL || c == 0xaa || c == 0xba || (c >= 0x2170 && c <= 0x217f) ||
         (c >= 0x24d0 && c <= 0x24e9);
}
bool is_title(char32_t c) { return category(c) == UTF8PROC_CATEGORY_LT; }
bool is_word(char32_t c) { return c == '_' || is_alpha(c) || is_numeric(c); }

std::string upper(std::string_view s) {
  std::string out;
  out.reserve(s.size());
  for_each(s, [&](char32_t c, size_t, size_t) { append_upper(out, c); });
  return out;
}

std::string lower(std::string_view s) {
  std::string out;
  out.reserve(s.size());
  for_each(s, [&](char32_t c, size_t begin, size_t end) { append_lower(out, s, begin, end, c); });
  return out;
}

std::string capitalize(std::string_view s) {
  std::string out;
  for_each(s, [&](char32_t c, size_t begin, size_t end) {
    if (begin == 0)
      append_title(out, c);
    else
      append_lower(out, s, begin, end, c);
  });
  return out;
}

std::string title(std::string_view s) {
  std::string out;
  bool in_word = false;
  for_each(s, [&](char32_t c, size_t begin, size_t end) {
    if (in_word)
      append_lower(out, s, begin, end, c);
    else
      append_title(out, c);
    in_word = is_cased(c);
  });
  return out;
}

std::string swapcase(std::string_view s) {
  std::string out;
  for_each(s, [&](char32_t c, size_t begin, size_t end) {
    if (is_upper(c))
      append_lower(out, s, begin, end, c);
    else if (is_lower(c))
      append_upper(out, c);
    else
      append_code_point(out, c);
  });
  return out;
}

std::string casefold(std::string_view s) {
  utf8proc_uint8_t* folded = nullptr;
  const auto n = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(s.data()),
                              static_cast<utf8proc_ssize_t>(s.size()), &folded, UTF8PROC_CASEFOLD);
  std::string out = n >= 0 ? std::string(reinterpret_cast<char*>(folded), static_cast<size_t>(n)) : std::string(s);
  std::free(folded);
  return out;
}

namespace {
template <class Drop>
std::string_view strip_if(std::string_view s, Side side, Drop drop) {
  size_t begin = 0, end = s.size();
  if (side != Side::right) {
    while (begin < end) {
      size_t i = begin;
      if (!drop(next_code_point(s, i))) break;
      begin = i;
    }
  }
  if (side != Side::left) {
    while (end > begin) {
      const size_t i = previous_code_point(s, end);
      size_t j = i;
      if (!drop(next_code_point(s, j))) break;
      end = i;
    }
  }
  return s.substr(begin, end - begin);
}
}  // namespace

std::string_view strip(std::string_view s, Side side) { return strip_if(s, side, is_space); }

std::string_view strip(std::string_view s, std::string_view chars, Side side) {
  std::u32string set;
  for_each(chars, [&](char32_t c, size_t, size_t) { set += c; });
  std::sort(set.begin(), set.end());
  return strip_if(s, side, [&](char32_t c) { return std::binary_search(set.begin(), set.end(), c); });
}

std::vector<std::string> split_whitespace(std::string_view s, int64_t max) {
  std::vector<std::string> parts;
  for (s = strip(s, Side::left); !s.empty(); s = strip(s, Side::left)) {
    if (max >= 0 && static_cast<int64_t>(parts.size()) == max) {
      parts.emplace_back(strip(s, Side::right));
      break;
    }
    size_t end = 0;
    while (end < s.size()) {
      size_t i = end;
      if (is_space(next_code_point(s, i))) break;
      end = i;
    }
    parts.emplace_back(s.substr(0, end));
    s.remove_prefix(end);
  }
  return parts;
}

std::vector<std::string> split(std::string_view s, std::string_view separator, int64_t max) {
  std::vector<std::string> parts;
  size_t begin = 0;
  while (max < 0 || static_cast<int64_t>(parts.size()) < max) {
    const size_t at = s.find(separator, begin);
    if (at == std::string_view::npos) break;
    parts.emplace_back(s.substr(begin, at - begin));
    begin = at + separator.size();
  }
  parts.emplace_back(s.substr(begin));
  return parts;
}

std::vector<std::string> rsplit_whitespace(std::string_view s, int64_t max) {
  std::vector<std::string> parts;
  for (s = strip(s, Side::right); !s.empty(); s = strip(s, Side::right)) {
    if (max >= 0 && static_cast<int64_t>(parts.size()) == max) {
      parts.emplace_back(s);
      break;
    }
    size_t begin = s.size();
    while (begin > 0) {
      const size_t i = previous_code_point(s, begin);
      size_t j = i;
      if (is_space(next_code_point(s, j))) break;
      begin = i;
    }
    parts.emplace_back(s.substr(begin));
    s = s.substr(0, begin);
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string> rsplit(std::string_view s, std::string_view separator, int64_t max) {
  std::vector<std::string> parts;
  while (max < 0 || static_cast<int64_t>(parts.size()) < max) {
    const size_t at = s.rfind(separator);
    if (at == std::string_view::npos) break;
    parts.emplace_back(s.substr(at + separator.size()));
    s = s.substr(0, at);
  }
  parts.emplace_back(s);
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string> splitlines(std::string_view s, bool keep_ends) {
  std::vector<std::string> lines;
  size_t begin = 0;
  for (size_t i = 0; i < s.size();) {
    const size_t at = i;
    const char32_t c = next_code_point(s, i);
    if (!is_line_break(c)) continue;
    if (c == '\r' && i < s.size() && s[i] == '\n') ++i;
    lines.emplace_back(s.substr(begin, (keep_ends ? i : at) - begin));
    begin = i;
  }
  if (begin < s.size()) lines.emplace_back(s.substr(begin));
  return lines;
}

std::string repr_string(std::string_view s) {
  const char quote = s.find('\'') != std::string_view::npos && s.find('"') == std::string_view::npos ? '"' : '\'';
  std::string out(1, quote);
  for_each(s, [&](char32_t c, size_t begin, size_t end) {
    if (c == static_cast<char32_t>(quote) || c == '\\')
      (out += '\\') += static_cast<char>(c);
    else if (c == '\n')
      out += "\\n";
    else if (c == '\r')
      out += "\\r";
    else if (c == '\t')
      out += "\\t";
    else if (is_printable(c))
      out += s.substr(begin, end - begin);
    else if (c < 0x100)
      out += fmt::format("\\x{:02x}", static_cast<uint32_t>(c));
    else if (c < 0x10000)
      out += fmt::format("\\u{:04x}", static_cast<uint32_t>(c));
    else
      out += fmt::format("\\U{:08x}", static_cast<uint32_t>(c));
  });
  return out += quote;
}

std::string json_string(std::string_view s, bool ensure_ascii) {
  std::string out = "\"";
  out.reserve(s.size() + 2);
  for_each(s, [&](char32_t c, size_t begin, size_t end) {
    switch (c) {
      case '"':
        out += "\\\"";
        return;
      case '\\':
        out += "\\\\";
        return;
      case '\n':
        out += "\\n";
        return;
      case '\r':
        out += "\\r";
        return;
      case '\t':
        out += "\\t";
        return;
      case '\f':
        out += "\\f";
        return;
      case '\b':
        out += "\\b";
        return;
      default:
        break;
    }
    if (c < 0x20 || (ensure_ascii && c >= 0x7f && c < 0x10000)) {
      out += fmt::format("\\u{:04x}", static_cast<uint32_t>(c));
    } else if (ensure_ascii && c >= 0x10000) {
      const uint32_t v = static_cast<uint32_t>(c) - 0x10000;
      out += fmt::format("\\u{:04x}\\u{:04x}", 0xd800 | v >> 10, 0xdc00 | (v & 0x3ff));
    } else {
      out += s.substr(begin, end - begin);
    }
  });
  return out += '"';
}

}  // namespace caravan::text::jinja
