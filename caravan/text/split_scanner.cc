// Scanners of split_scanner.h. One character class is looked up per character, each alternative of the pattern is a
// branch.
#include "caravan/text/split_scanner.h"

#include <limits>
#include <string>

#include "caravan/text/unicode.h"

namespace caravan::text {
namespace {

constexpr uint32_t kUnlimited = std::numeric_limits<uint32_t>::max();

struct Character {
  char32_t c = 0;
  uint16_t is = 0;    // kLetter, kNumber, kSpace
  uint32_t next = 0;  // where the next one starts; the text's size at the end
};

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}
  size_t size() const { return text_.size(); }

  // At the end: no class, c = 0.
  Character read(size_t at) const {
    if (at >= text_.size()) return {0, 0, static_cast<uint32_t>(text_.size())};
    const char32_t c = decode_utf8(text_, at);
    return {c, static_cast<uint16_t>(properties(c) & (kLetter | kNumber | kSpace)), static_cast<uint32_t>(at)};
  }

  size_t skip(size_t at, uint16_t classes) const {
    while (at < text_.size()) {
      const Character c = read(at);
      if (!(c.is & classes)) break;
      at = c.next;
    }
    return at;
  }

  size_t skip_other(size_t at) const {  // [^\s\p{L}\p{N}]+
    while (at < text_.size()) {
      const Character c = read(at);
      if (c.is) break;
      at = c.next;
    }
    return at;
  }

  size_t skip_newlines(size_t at) const {
    while (at < text_.size() && (text_[at] == '\r' || text_[at] == '\n')) ++at;
    return at;
  }

  // 's 't 're 've 'm 'll 'd behind an apostrophe: the end, or 0. Without case also U+017F, which folds to s.
  size_t contraction(size_t at, bool any_case) const {
    auto letter = [&](size_t i) {
      const char c = i < text_.size() ? text_[i] : '\0';
      return any_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    };
    const char a = letter(at + 1), b = letter(at + 2);
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return at + 2;
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return at + 3;
    if (any_case && a == '\xC5' && letter(at + 2) == '\xBF') return at + 3;
    return 0;
  }

  // \s+(?!\S)|\s+ from `at`, where `end` is the end of the run of spaces.
  size_t spaces(size_t at, size_t end) const {
    if (end == text_.size()) return end;
    size_t last = end;
    decode_utf8_before(text_, last);
    return last > at ? last : end;
  }

  // The end of the last newline in [at, end), or 0.
  size_t last_newline(size_t at, size_t end) const {
    for (; end > at; --end)
      if (text_[end - 1] == '\r' || text_[end - 1] == '\n') return end;
    return 0;
  }

 private:
  std::string_view text_;
};

// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
size_t gpt2_end(const Reader& in, size_t at) {
  const Character c = in.read(at);
  if (c.c == '\'')
    if (size_t end = in.contraction(at, false)) return end;
  const Character body = c.c == ' ' ? in.read(c.next) : c;
  const bool ended = c.c == ' ' && c.next == in.size();
  if (!ended && !(body.is & kSpace)) {
    if (body.is & (kLetter | kNumber)) return in.skip(body.next, body.is & (kLetter | kNumber));
    return in.skip_other(body.next);
  }
  return in.spaces(at, in.skip(c.next, kSpace));
}

size_t digits_end(const Reader& in, Character c, uint32_t limit) {
  for (uint32_t n = 1; n < limit; ++n) {
    const Character next = in.read(c.next);
    if (!(next.is & kNumber)) break;
    c = next;
  }
  return c.next;
}

// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}|
// ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
size_t cl100k_end(const Reader& in, size_t at, uint32_t digits) {
  const Character c = in.read(at);
  if (c.c == '\'')
    if (size_t end = in.contraction(at, true)) return end;
  if (c.is & kLetter) return in.skip(c.next, kLetter);
  if (c.is & kNumber) return digits_end(in, c, digits);
  const Character next = in.read(c.next);
  if (c.c != '\r' && c.c != '\n' && (next.is & kLetter)) return in.skip(next.next, kLetter);
  if (!(c.is & kSpace)) return in.skip_newlines(in.skip_other(c.next));
  if (c.c == ' ' && c.next < in.size() && !next.is) return in.skip_newlines(in.skip_other(next.next));
  const size_t end = in.skip(c.next, kSpace);
  if (size_t newline = in.last_newline(at, end)) return newline;
  return in.spaces(at, end);
}

}  // namespace

std::optional<SplitScanner> SplitScanner::recognize(std::string_view pattern) {
  if (pattern == R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)")
    return SplitScanner(Family::gpt2, kUnlimited);
  const std::pair<std::string_view, uint32_t> digits[] = {
      {R"(\p{N}{1,3})", 3}, {R"(\p{N})", 1}, {R"(\p{N}{1,2})", 2}, {R"(\p{N}+)", kUnlimited}};
  for (const auto& [group, limit] : digits) {
    const std::string known = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)" + std::string(group) +
                              R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
    if (pattern == known) return SplitScanner(Family::cl100k, limit);
  }
  return std::nullopt;
}

void SplitScanner::scan(std::string_view text, std::vector<uint32_t>& ends) const {
  const Reader in(text);
  for (size_t at = 0; at < text.size();) {
    at = family_ == Family::gpt2 ? gpt2_end(in, at) : cl100k_end(in, at, digits_);
    ends.push_back(static_cast<uint32_t>(at));
  }
}

}  // namespace caravan::text
