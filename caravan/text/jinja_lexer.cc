// See jinja_lexer.h. Source: jinja2/lexer.py 3.1.6; the comments name its rules.
#include "caravan/text/jinja_lexer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>

#include "caravan/text/jinja_text.h"

namespace caravan::text::jinja {
namespace {

constexpr std::pair<std::string_view, Tok> kOperators[] = {  // longest first
    {"//", Tok::floordiv}, {"**", Tok::pow},   {"==", Tok::eq},      {"!=", Tok::ne},      {">=", Tok::gteq},
    {"<=", Tok::lteq},     {"+", Tok::add},    {"-", Tok::sub},      {"/", Tok::div},      {"*", Tok::mul},
    {"%", Tok::mod},       {"~", Tok::tilde},  {"[", Tok::lbracket}, {"]", Tok::rbracket}, {"(", Tok::lparen},
    {")", Tok::rparen},    {"{", Tok::lbrace}, {"}", Tok::rbrace},   {">", Tok::gt},       {"<", Tok::lt},
    {"=", Tok::assign},    {".", Tok::dot},    {":", Tok::colon},    {"|", Tok::pipe},     {",", Tok::comma},
    {";", Tok::semicolon}};

bool is_name_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}
bool is_digit_byte(char c) { return c >= '0' && c <= '9'; }

// Line ends become \n; one at the end of the template goes.
std::string normalize(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

class Lexer {
 public:
  Lexer(std::string_view source, std::string_view where) : source_(normalize(source)), s_(source_), where_(where) {}

  std::vector<Token> run() {
    while (pos_ < s_.size()) root();
    push(Tok::eof);
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(const std::string& message) const { fail_syntax(where_, line_, message); }
  bool at(std::string_view text, size_t pos) const { return s_.substr(std::min(pos, s_.size()), text.size()) == text; }
  Token& push(Tok type, std::string text = {}) { return tokens_.emplace_back(Token{type, line_, std::move(text)}); }

  size_t skip_space(size_t pos) const {
    while (pos < s_.size()) {
      size_t i = pos;
      if (!is_space(next_code_point(s_, i))) break;
      pos = i;
    }
    return pos;
  }

  // Moves to `pos`; what lies between is a rule's whole match, whose last byte decides whether a line starts.
  void advance(size_t pos) {
    line_ += static_cast<int>(
        std::count(s_.begin() + static_cast<ptrdiff_t>(pos_), s_.begin() + static_cast<ptrdiff_t>(pos), '\n'));
    if (pos > pos_) line_starting_ = s_[pos - 1] == '\n';
    pos_ = pos;
  }

  // Template text in [pos_, end) in front of a tag with this sign; strips it as the tag asks.
  void data(size_t end, char sign, bool variable) {
    std::string_view text = s_.substr(pos_, end - pos_);
    if (sign == '-') {
      text = strip(text, Side::right);
    } else if (sign != '+' && !variable) {
      const size_t line = text.rfind('\n') == std::string_view::npos ? 0 : text.rfind('\n') + 1;  // lstrip_blocks
      if ((line > 0 || line_starting_) && line < text.size() && strip(text.substr(line)).empty())
        text = text.substr(0, line);
    }
    if (!text.empty()) push(Tok::data, std::string(text));
  }

  char sign_at(size_t pos) const { return pos < s_.size() && (s_[pos] == '-' || s_[pos] == '+') ? s_[pos] : '\0'; }

  // Where "%}" with its variants ends, or npos: "+%}", "-%}\s*", "%}\n?" (trim_blocks).
  size_t block_end(size_t pos, std::string_view end) const {
    if (at("-", pos) && at(end, pos + 1)) return skip_space(pos + 1 + end.size());
    if (at("+", pos) && at(end, pos + 1)) return pos + 1 + end.size();
    if (!at(end, pos)) return std::string_view::npos;
    return pos + end.size() + (at("\n", pos + end.size()) ? 1 : 0);
  }

  void root() {
    size_t begin = s_.find('{', pos_);
    while (begin != std::string_view::npos && !(at("{%", begin) || at("{{", begin) || at("{#", begin)))
      begin = s_.find('{', begin + 1);
    if (begin == std::string_view::npos) {
      push(Tok::data, std::string(s_.substr(pos_)));
      return advance(s_.size());
    }
    const char sign = sign_at(begin + 2);
    const size_t after = begin + 2 + (sign != '\0' ? 1 : 0);
    if (at("{%", begin)) {
      if (const size_t body = raw_begin(after); body != std::string_view::npos) {
        data(begin, sign, false);
        advance(body);
        return raw();
      }
    }
    const char type = s_[begin + 1];
    data(begin, sign, type == '{');
    advance(after);
    if (type == '#') return comment();
    push(type == '%' ? Tok::block_begin : Tok::variable_begin);
    code(type == '%');
  }

  size_t raw_begin(size_t pos) const {  // \s*raw\s*(?:-%}\s*|%})
    pos = skip_space(pos);
    if (!at("raw", pos)) return std::string_view::npos;
    pos = skip_space(pos + 3);
    if (at("-%}", pos)) return skip_space(pos + 3);
    return at("%}", pos) ? pos + 2 : std::string_view::npos;
  }

  void raw() {
    for (size_t begin = s_.find("{%", pos_); begin != std::string_view::npos; begin = s_.find("{%", begin + 1)) {
      const char sign = sign_at(begin + 2);
      size_t pos = skip_space(begin + 2 + (sign != '\0' ? 1 : 0));
      if (!at("endraw", pos)) continue;
      const size_t end = block_end(skip_space(pos + 6), "%}");
      if (end == std::string_view::npos) continue;
      data(begin, sign, false);
      return advance(end);
    }
    if (pos_ < s_.size()) fail("Missing end of raw directive");  // Jinja lets it pass at the very end
  }

  void comment() {
    const size_t close = s_.find("#}", pos_);
    if (close == std::string_view::npos) {
      if (pos_ < s_.size()) fail("Missing end of comment tag");
      return;  // Jinja lets it pass at the very end
    }
    const size_t end = close > pos_ && (s_[close - 1] == '-' || s_[close - 1] == '+') ? close - 1 : close;
    advance(block_end(end, "#}"));
  }

  void code(bool block) {
    std::string open;  // closing brackets that are awaited
    while (pos_ < s_.size()) {
      if (open.empty()) {
        if (block) {
          if (const size_t end = block_end(pos_, "%}"); end != std::string_view::npos) {
            push(Tok::block_end);
            return advance(end);
          }
        } else if (at("-}}", pos_) || at("}}", pos_)) {
          push(Tok::variable_end);
          return advance(at("}}", pos_) ? pos_ + 2 : skip_space(pos_ + 3));
        }
      }
      if (const size_t next = skip_space(pos_); next != pos_) {
        advance(next);
        continue;
      }
      token(open);
    }
  }

  void token(std::string& open) {
    const char c = s_[pos_];
    if (is_digit_byte(c)) return number();
    if (c == '\'' || c == '"') return string(c);
    if (is_name_byte(c) || (c & 0x80)) return name();
    for (const auto& [text, type] : kOperators) {
      if (!at(text, pos_)) continue;
      if (c == '{' || c == '(' || c == '[') open += c == '{' ? '}' : c == '(' ? ')' : ']';
      if (c == '}' || c == ')' || c == ']') {
        if (open.empty()) fail(fmt::format("unexpected '{}'", c));
        if (open.back() != c) fail(fmt::format("unexpected '{}', expected '{}'", c, open.back()));
        open.pop_back();
      }
      push(type);
      return advance(pos_ + text.size());
    }
    fail(fmt::format("unexpected char {} at {}", repr_string(std::string_view(&c, 1)), pos_));
  }

  void name() {
    size_t end = pos_;
    while (end < s_.size()) {
      size_t i = end;
      const char32_t c = next_code_point(s_, i);
      const auto category = c < 0x80 ? UTF8PROC_CATEGORY_CN : utf8proc_category(static_cast<utf8proc_int32_t>(c));
      if (c < 0x80 ? !is_name_byte(static_cast<char>(c))
                   : !(is_word(c) || category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC))
        break;
      end = i;
    }
    if (end == pos_) {
      size_t i = pos_;
      next_code_point(s_, i);
      fail(fmt::format("unexpected char {} at {}", repr_string(s_.substr(pos_, i - pos_)), pos_));
    }
    push(Tok::name, std::string(s_.substr(pos_, end - pos_)));
    advance(end);
  }

  // (\d+_)*\d+ from pos; pos itself where there is none.
  size_t digits(size_t pos) const {
    if (pos >= s_.size() || !is_digit_byte(s_[pos])) return pos;
    while (pos < s_.size() &&
           (is_digit_byte(s_[pos]) || (s_[pos] == '_' && pos + 1 < s_.size() && is_digit_byte(s_[pos + 1]))))
      ++pos;
    return pos;
  }

  void number() {
    size_t end = digits(pos_);
    bool real = false;
    if (pos_ == 0 || s_[pos_ - 1] != '.') {
      if (at(".", end) && digits(end + 1) != end + 1) end = digits(end + 1), real = true;
      if (at("e", end) || at("E", end)) {
        const size_t exponent = end + 1 + (sign_at(end + 1) != '\0' ? 1 : 0);
        if (digits(exponent) != exponent) end = digits(exponent), real = true;
      }
    }
    if (!real) return integer();
    std::string text(s_.substr(pos_, end - pos_));
    std::erase(text, '_');
    push(Tok::real).real = std::strtod(text.c_str(), nullptr);
    advance(end);
  }

  void integer() {
    int base = 10;
    size_t end = pos_;
    if (s_[pos_] == '0' && pos_ + 1 < s_.size()) {
      const char kind = static_cast<char>(s_[pos_ + 1] | 0x20);
      const int prefixed = kind == 'b' ? 2 : kind == 'o' ? 8 : kind == 'x' ? 16 : 0;
      if (prefixed != 0 && digit_run(pos_ + 2, prefixed) > pos_ + 2)
        base = prefixed, end = digit_run(pos_ + 2, prefixed);
    }
    size_t i = base == 10 ? pos_ : pos_ + 2;
    if (base == 10) {
      end = digits(pos_);
      if (s_[pos_] == '0') {  // zeros only: "07" is two tokens
        end = pos_ + 1;
        while (at("0", end) || at("_0", end)) end += at("0", end) ? 1 : 2;
      }
    }
    Int value = 0;
    for (; i < end; ++i) {
      if (s_[i] == '_') continue;
      const int digit = is_digit_byte(s_[i]) ? s_[i] - '0' : (s_[i] | 0x20) - 'a' + 10;
      if (__builtin_mul_overflow(value, static_cast<Int>(base), &value) ||
          __builtin_add_overflow(value, static_cast<Int>(digit), &value)) {
        fail("integers are limited to 128 bits");
      }
    }
    push(Tok::integer).integer = value;
    advance(end);
  }

  size_t digit_run(size_t pos, int base) const {  // (_?[digit])+
    const auto ok = [&](size_t p) {
      if (p >= s_.size()) return false;
      const char c = s_[p];
      const int d = is_digit_byte(c) ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : 99;
      return d < base;
    };
    while (ok(pos) || (at("_", pos) && ok(pos + 1))) ++pos;
    return pos;
  }

  void string(char quote) {
    size_t end = pos_ + 1;
    while (end < s_.size() && s_[end] != quote) end += s_[end] == '\\' ? 2 : 1;
    if (end >= s_.size()) fail(fmt::format("unexpected char {} at {}", repr_string(std::string_view(&quote, 1)), pos_));
    push(Tok::string, unescape(s_.substr(pos_ + 1, end - pos_ - 1)));
    advance(end + 1);
  }

  // .encode("ascii", "backslashreplace").decode("unicode-escape")
  std::string unescape(std::string_view text) const {
    std::string out;
    for (size_t i = 0; i < text.size();) {
      if (text[i] != '\\') {
        out += text[i++];
        continue;
      }
      if (++i == text.size()) fail("\\ at end of string");
      const char c = text[i];
      if (c & 0x80) {  // the escape of the character itself gets the backslash
        const char32_t code = next_code_point(text, i);
        const char* escape = code < 0x100 ? "\\x{:02x}" : code < 0x10000 ? "\\u{:04x}" : "\\U{:08x}";
        out += fmt::format(fmt::runtime(escape), static_cast<uint32_t>(code));
        continue;
      }
      ++i;
      static constexpr std::string_view kFrom = "\\'\"abfnrtv", kTo = "\\'\"\a\b\f\n\r\t\v";
      if (c == '\n') continue;
      if (const size_t k = kFrom.find(c); k != std::string_view::npos) {
        out += kTo[k];
      } else if (c >= '0' && c <= '7') {
        uint32_t code = static_cast<uint32_t>(c - '0');
        for (int n = 1; n < 3 && i < text.size() && text[i] >= '0' && text[i] <= '7'; ++n)
          code = code * 8 + static_cast<uint32_t>(text[i++] - '0');
        append_code_point(out, code);
      } else if (c == 'x' || c == 'u' || c == 'U') {
        append_code_point(out, hex(text, i, c == 'x' ? 2 : c == 'u' ? 4 : 8));
      } else if (c == 'N') {
        fail("\\N{...} in a string is not supported; write the character itself");
      } else {
        (out += '\\') += c;
      }
    }
    return out;
  }

  char32_t hex(std::string_view text, size_t& i, size_t n) const {
    char32_t code = 0;
    for (size_t k = 0; k < n; ++k, ++i) {
      const char c = i < text.size() ? text[i] : '\0';
      const bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'f';
      if (!is_digit_byte(c) && !letter) fail("truncated \\x, \\u or \\U escape in a string");
      code = code * 16 + static_cast<char32_t>(letter ? (c | 0x20) - 'a' + 10 : c - '0');
    }
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) fail("illegal Unicode character in a string");
    return code;
  }

  const std::string source_;
  const std::string_view s_, where_;
  std::vector<Token> tokens_;
  size_t pos_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
};

}  // namespace

void fail_syntax(std::string_view where, int line, const std::string& message) {
  fail_file(FileFault::syntax, where, "line {}: {}", line, message);
}

std::string_view describe(Tok type) {
  for (const auto& [text, t] : kOperators) {
    if (t == type) return text;
  }
  switch (type) {
    case Tok::eof:
      return "end of template";
    case Tok::data:
      return "template data / text";
    case Tok::block_begin:
      return "begin of statement block";
    case Tok::block_end:
      return "end of statement block";
    case Tok::variable_begin:
      return "begin of print statement";
    case Tok::variable_end:
      return "end of print statement";
    case Tok::name:
      return "name";
    case Tok::string:
      return "string";
    case Tok::integer:
      return "integer";
    default:
      return "float";
  }
}

std::string describe(const Token& token) {
  return token.type == Tok::name ? token.text : std::string(describe(token.type));
}

std::vector<Token> tokenize(std::string_view source, std::string_view where) { return Lexer(source, where).run(); }

}  // namespace caravan::text::jinja
