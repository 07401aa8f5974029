// Python's two ways to format text, `format % arguments` and format.format(...), and its number parsing.
// Source: CPython's unicodeobject.c and formatter_unicode.c; the "n" presentation type and nested auto-numbering in a
// spec's fields beyond one level are left out.
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "caravan/base/markup.h"
#include "caravan/text/jinja_methods.h"
#include "caravan/text/jinja_text.h"

namespace caravan::text::jinja {
namespace {

constexpr Int kMaxWidth = 1'000'000;

size_t checked_width(Int n) {
  if (n > kMaxWidth) Budget::current->check_string(Budget::current->string_bytes + 1);
  return static_cast<size_t>(std::max<Int>(n, 0));
}

std::string ascii_repr(const Value& v) {
  std::string out;
  const std::string text = repr(v);
  for (size_t i = 0; i < text.size();) {
    const char32_t c = next_code_point(text, i);
    if (c < 0x80)
      out += static_cast<char>(c);
    else if (c < 0x100)
      out += fmt::format("\\x{:02x}", static_cast<uint32_t>(c));
    else if (c < 0x10000)
      out += fmt::format("\\u{:04x}", static_cast<uint32_t>(c));
    else
      out += fmt::format("\\U{:08x}", static_cast<uint32_t>(c));
  }
  return out;
}

// Digits of |i| in a base.
std::string int_digits(Int i, unsigned base, bool upper = false) {
  auto u = i < 0 ? -static_cast<unsigned __int128>(i) : static_cast<unsigned __int128>(i);
  const std::string_view alphabet = upper ? "0123456789ABCDEF" : "0123456789abcdef";
  std::string digits;
  do digits += alphabet[static_cast<size_t>(u % base)];
  while ((u /= base) != 0);
  std::reverse(digits.begin(), digits.end());
  return digits;
}

// |d| as C's printf has it; type is one of e E f F g G.
std::string float_digits(double d, char type, int precision, bool alternate) {
  d = std::fabs(d);
  if (!std::isfinite(d)) {
    const bool upper = type == 'E' || type == 'F' || type == 'G';
    return std::isnan(d) ? (upper ? "NAN" : "nan") : (upper ? "INF" : "inf");
  }
  const char format[] = {
      '%', alternate ? '#' : '.', alternate ? '.' : '*', alternate ? '*' : type, alternate ? type : '\0', '\0'};
  const int n = std::snprintf(nullptr, 0, format, precision, d);
  std::string out(static_cast<size_t>(n) + 1, '\0');
  std::snprintf(out.data(), out.size(), format, precision, d);
  out.pop_back();
  return out;
}

std::string group_digits(std::string digits, char separator, size_t every) {
  const size_t whole = std::min(digits.find_first_not_of("0123456789abcdefABCDEF"), digits.size());
  for (size_t i = whole; i > every;) digits.insert(i -= every, 1, separator);
  return digits;
}

std::string pad(std::string text, size_t width, char align, const std::string& fill) {
  const size_t n = code_points(text);
  if (n >= width) return text;
  const size_t missing = width - n, left = align == '>' ? missing : align == '^' ? missing / 2 : 0;
  Budget::current->check_string(text.size() + missing * fill.size());
  std::string out;
  for (size_t i = 0; i < left; ++i) out += fill;
  out += text;
  for (size_t i = left; i < missing; ++i) out += fill;
  return out;
}

// One conversion of `format % arguments`.
struct Conversion {
  bool minus = false, plus = false, space = false, zero = false, alternate = false;
  Int width = 0, precision = -1;
  char type = 's';
};

std::string percent_number(const Conversion& c, const Value& v) {
  std::string sign, prefix, digits;
  if (c.type == 'd' || c.type == 'i' || c.type == 'u' || c.type == 'o' || c.type == 'x' || c.type == 'X') {
    if (!v.is_number() || (v.is(Kind::real) && c.type != 'd' && c.type != 'i' && c.type != 'u')) {
      raise(Raised::type, "%{} format: a{} is required, not {}", c.type,
            c.type == 'd' || c.type == 'i' || c.type == 'u' ? " real number" : "n integer", type_name(v));
    }
    if (v.is(Kind::real) && (!std::isfinite(v.real()) || std::fabs(v.real()) > 1e38))
      raise(Raised::overflow, "cannot convert float to integer");
    const Int i = v.is(Kind::real) ? static_cast<Int>(v.real()) : v.integer();
    digits = int_digits(i, c.type == 'o' ? 8 : c.type == 'x' || c.type == 'X' ? 16 : 10, c.type == 'X');
    if (static_cast<Int>(digits.size()) < c.precision)
      digits.insert(0, checked_width(c.precision) - digits.size(), '0');
    if (c.alternate && c.type != 'd' && c.type != 'i' && c.type != 'u') prefix = {'0', c.type};
    sign = i < 0 ? "-" : "";
  } else {
    if (!v.is_number()) raise(Raised::type, "must be real number, not {}", type_name(v));
    const double d = v.number();
    digits = float_digits(d, c.type, static_cast<int>(c.precision < 0 ? 6 : checked_width(c.precision)), c.alternate);
    sign = std::signbit(d) && !std::isnan(d) ? "-" : "";
  }
  if (sign.empty()) sign = c.plus ? "+" : c.space ? " " : "";
  const size_t n = sign.size() + prefix.size() + digits.size(), width = checked_width(c.width);
  if (c.zero && !c.minus && n < width) digits.insert(0, width - n, '0');
  return pad(sign + prefix + digits, width, c.minus ? '<' : '>', " ");
}

std::string percent_text(const Conversion& c, const Value& v, bool markup) {
  std::string text;
  if (c.type == 'c') {
    if (v.is(Kind::string) && length(v) == 1)
      text = v.str();
    else if (v.is_integer() && v.integer() >= 0 && v.integer() < 0x110000)
      append_code_point(text, static_cast<char32_t>(v.integer()));
    else
      raise(Raised::type, "%c requires int or char");
  } else if (c.type == 's') {
    text = to_text(v);
  } else {
    text = c.type == 'r' ? repr(v) : ascii_repr(v);
  }
  if (c.precision >= 0) text.resize(byte_offset(text, static_cast<size_t>(std::min<Int>(c.precision, kMaxWidth))));
  if (markup && !(v.is(Kind::string) && v.text().markup)) text = escape_markup(text);
  return pad(std::move(text), checked_width(c.width), c.minus ? '<' : '>', " ");
}

// The fields of a format specification: [[fill]align][sign][z][#][0][width][grouping][.precision][type]
struct Spec {
  std::string fill = " ";
  char align = '\0', sign = '-', grouping = '\0', type = '\0';
  bool alternate = false, zero = false;
  size_t width = 0;
  int precision = -1;
};

Spec parse_spec(std::string_view s) {
  Spec spec;
  const auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
  size_t i = 0, first = 0;
  if (!s.empty()) next_code_point(s, first);
  if (first < s.size() && is_align(s[first])) {
    spec.fill = s.substr(0, first);
    spec.align = s[first];
    i = first + 1;
  } else if (!s.empty() && is_align(s[0])) {
    spec.align = s[i++];
  }
  const auto take = [&](std::string_view set) {
    return i < s.size() && set.find(s[i]) != std::string_view::npos ? s[i++] : '\0';
  };
  if (const char c = take("+- ")) spec.sign = c;
  take("z");
  spec.alternate = take("#") != '\0';
  if (take("0")) {
    spec.zero = true;
    if (spec.align == '\0') spec.align = '=', spec.fill = "0";
  }
  const auto number = [&] {
    Int n = 0;
    for (; i < s.size() && s[i] >= '0' && s[i] <= '9'; ++i) n = std::min<Int>(n * 10 + (s[i] - '0'), 2 * kMaxWidth);
    return checked_width(n);
  };
  spec.width = number();
  spec.grouping = take(",_");
  if (take(".")) {
    if (i >= s.size() || s[i] < '0' || s[i] > '9') raise(Raised::value, "Format specifier missing precision");
    spec.precision = static_cast<int>(number());
  }
  if (i < s.size()) spec.type = s[i++];
  if (i < s.size()) raise(Raised::value, "Invalid format specifier '{}'", s);
  return spec;
}

// '=' alignment: the fill stands between sign and digits, grouped where it is zeros.
std::string fill_between(const Spec& spec, size_t before, std::string digits, size_t every) {
  if (spec.fill != "0" || !spec.grouping) {
    std::string filling;
    for (size_t i = before + digits.size(); i < spec.width; ++i) filling += spec.fill;
    return filling + digits;
  }
  while (before + digits.size() < spec.width) {
    const size_t whole = std::min(digits.find_first_not_of("0123456789abcdefABCDEF,_"), digits.size());
    const size_t first = digits.find_first_of(",_");
    const bool full = (first == std::string::npos ? whole : first) % (every + 1) == every;
    digits.insert(0, full ? std::string("0") + spec.grouping : "0");
  }
  return digits;
}

std::string format_number(const Spec& spec, const Value& v) {
  const bool as_int = v.is_integer() && std::string_view("eEfFgG%").find(spec.type) == std::string_view::npos;
  const bool negative = as_int ? v.integer() < 0 : std::signbit(v.number()) && !std::isnan(v.number());
  std::string digits, prefix, suffix;
  size_t every = 3;
  if (as_int) {
    if (spec.precision >= 0) raise(Raised::value, "Precision not allowed in integer format specifier");
    const unsigned base = spec.type == 'b' ? 2 : spec.type == 'o' ? 8 : spec.type == 'x' || spec.type == 'X' ? 16 : 10;
    if (spec.type != '\0' && spec.type != 'd' && spec.type != 'n' && base == 10) {
      raise(Raised::value, "Unknown format code '{}' for object of type 'int'", spec.type);
    }
    digits = int_digits(v.integer(), base, spec.type == 'X');
    if (spec.alternate && base != 10) prefix = {'0', spec.type};
    if (base != 10) every = 4;
  } else {
    char type = spec.type;
    double d = v.number();
    if (type == '%') d *= 100, suffix = "%";
    if (type != '\0' && std::string_view("eEfFgGn%").find(type) == std::string_view::npos) {
      raise(Raised::value, "Unknown format code '{}' for object of type 'float'", type);
    }
    if (type == '\0' && spec.precision < 0) {
      digits = float_text(std::fabs(d));
    } else if (type == '\0') {  // like g, but with a digit after the point and an exponent from `precision` digits on
      const int p = std::max(spec.precision, 1);
      digits = float_digits(d, 'g', p, spec.alternate);
      const auto exponent =
          d == 0 || !std::isfinite(d) ? 0.0 : std::floor(std::log10(std::fabs(std::strtod(digits.c_str(), nullptr))));
      if (exponent == p - 1 && p > 1 && digits.find('e') == std::string::npos)
        digits = float_digits(d, 'e', p - 1, spec.alternate);
      if (digits.find_first_of(".en") == std::string::npos) digits += ".0";
      if (const size_t e = digits.find('e'); e != std::string::npos && digits.find('.') < e) {
        size_t end = e;
        while (digits[end - 1] == '0') --end;
        if (digits[end - 1] == '.') --end;
        digits.erase(end, e - end);
      }
    } else {
      digits = float_digits(d,
                            type == '%'   ? 'f'
                            : type == 'n' ? 'g'
                                          : type,
                            spec.precision < 0 ? 6 : spec.precision, spec.alternate);
    }
  }
  if (spec.grouping) digits = group_digits(digits, spec.grouping, every);
  std::string sign = negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
  digits += suffix;
  const size_t n = sign.size() + prefix.size() + digits.size();
  if (spec.align == '=' && n < spec.width)
    digits = fill_between(spec, sign.size() + prefix.size(), std::move(digits), every);
  return pad(sign + prefix + digits, spec.width, spec.align == '\0' || spec.align == '=' ? '>' : spec.align, spec.fill);
}

std::string format_value(const Value& v, std::string_view text) {
  if (text.empty()) return to_text(v);
  if (v.is(Kind::undefined)) raise(Raised::type, "unsupported format string passed to Undefined.__format__");
  const Spec spec = parse_spec(text);
  if (v.is(Kind::string)) {
    if (spec.type != '\0' && spec.type != 's')
      raise(Raised::value, "Unknown format code '{}' for object of type 'str'", spec.type);
    if (spec.align == '=' && !spec.zero) raise(Raised::value, "'=' alignment not allowed in string format specifier");
    std::string s = v.str();
    if (spec.precision >= 0) s.resize(byte_offset(s, static_cast<size_t>(spec.precision)));
    return pad(std::move(s), spec.width, spec.align == '\0' || spec.align == '=' ? '<' : spec.align, spec.fill);
  }
  if (v.is_integer() && spec.type == 'c') {
    std::string s;
    append_code_point(s, static_cast<char32_t>(std::clamp<Int>(v.integer(), 0, 0x10ffff)));
    return pad(s, spec.width, spec.align == '\0' ? '<' : spec.align, spec.fill);
  }
  if (!v.is_number()) raise(Raised::type, "unsupported format string passed to {}.__format__", type_name(v));
  return format_number(spec, v);
}

class Formatter {
 public:
  Formatter(Interpreter& in, Arguments& arguments, bool markup) : in_(in), arguments_(arguments), markup_(markup) {}

  std::string run(std::string_view f, int depth) {
    std::string out;
    for (size_t i = 0; i < f.size();) {
      Budget::current->spend(1);
      const char c = f[i];
      if (c != '{' && c != '}') {
        const size_t end = std::min(f.find_first_of("{}", i), f.size());
        out += f.substr(i, end - i);
        i = end;
        continue;
      }
      if (i + 1 < f.size() && f[i + 1] == c) {
        out += c;
        i += 2;
        continue;
      }
      if (c == '}') raise(Raised::value, "Single '}}' encountered in format string");
      if (depth == 0) raise(Raised::value, "Max string recursion exceeded");
      size_t end = i + 1;
      for (int open = 1; end < f.size(); ++end) {
        if (f[end] == '{') ++open;
        if (f[end] == '}' && --open == 0) break;
      }
      if (end >= f.size()) raise(Raised::value, "expected '}}' before end of string");
      out += field(f.substr(i + 1, end - i - 1), depth);
      Budget::current->check_string(out.size());
      i = end + 1;
    }
    return out;
  }

 private:
  std::string field(std::string_view f, int depth) {
    size_t end = 0;
    for (bool bracket = false; end < f.size() && (bracket || (f[end] != ':' && f[end] != '!')); ++end) {
      if (f[end] == '[') bracket = true;
      if (f[end] == ']') bracket = false;
    }
    Value v = lookup(f.substr(0, end));
    std::string_view rest = f.substr(end);
    if (rest.starts_with('!')) {
      if (rest.size() < 2 || (rest.size() > 2 && rest[2] != ':'))
        raise(Raised::value, "expected ':' after conversion specifier");
      const char c = rest[1];
      if (c == 'r')
        v = in_.string(repr(v));
      else if (c == 'a')
        v = in_.string(ascii_repr(v));
      else if (c == 's')
        v = in_.string(to_text(v));
      else
        raise(Raised::value, "Unknown conversion specifier {}", c);
      rest.remove_prefix(2);
    }
    if (!rest.empty()) rest.remove_prefix(1);
    const std::string spec = run(rest, depth - 1);
    if (!markup_) return format_value(v, spec);
    if (!v.is(Kind::string) || !v.text().markup) return escape_markup(format_value(v, spec));
    if (!spec.empty()) raise(Raised::value, "Unsupported format specification for Markup.");
    return v.str();
  }

  Value lookup(std::string_view path) {
    size_t i = std::min(path.find_first_of(".["), path.size());
    Value v = first(path.substr(0, i));
    while (i < path.size()) {
      if (path[i] == '.') {
        const size_t end = std::min(path.find_first_of(".[", i + 1), path.size());
        v = in_.get_attribute(v, std::string(path.substr(i + 1, end - i - 1)));
        i = end;
      } else if (path[i] == '[') {
        const size_t end = path.find(']', i);
        if (end == std::string_view::npos) raise(Raised::value, "Missing ']' in format string");
        const std::string_view key = path.substr(i + 1, end - i - 1);
        const bool index =
            !key.empty() && key.size() < 18 && key.find_first_not_of("0123456789") == std::string_view::npos;
        v = in_.get_item(v,
                         index ? Value(static_cast<Int>(std::stoll(std::string(key)))) : in_.string(std::string(key)));
        i = end + 1;
      } else {
        raise(Raised::value, "Only '.' or '[' may follow ']' in format field specifier");
      }
    }
    return v;
  }

  Value first(std::string_view name) {
    const bool number = name.find_first_not_of("0123456789") == std::string_view::npos;
    if (number) {
      if (name.empty() ? manual_ : automatic_ > 0)
        raise(Raised::value, "cannot switch between manual field specification and automatic field numbering");
      manual_ |= !name.empty();
      const size_t i = name.empty() ? automatic_++ : name.size() > 6 ? SIZE_MAX : std::stoul(std::string(name));
      if (i >= arguments_.positional.size())
        raise(Raised::lookup, "Replacement index {} out of range for positional args tuple", i);
      return arguments_.positional[i];
    }
    for (const auto& [key, value] : arguments_.keywords) {
      if (key == name) return value;
    }
    raise(Raised::lookup, "{}", repr_string(name));
  }

  Interpreter& in_;
  Arguments& arguments_;
  const bool markup_;  // of a Markup: fields are escaped
  size_t automatic_ = 0;
  bool manual_ = false;
};

}  // namespace

std::string str_format(Interpreter& in, std::string_view format, Arguments& arguments) {
  return Formatter(in, arguments, false).run(format, 2);
}

std::string markup_format(Interpreter& in, std::string_view format, Arguments& arguments) {
  return Formatter(in, arguments, true).run(format, 2);
}

namespace {

class PercentFormatter {
 public:
  PercentFormatter(Interpreter& in, std::string_view format, const Value& arguments, bool markup)
      : in_(in), f_(format), arguments_(arguments), markup_(markup), tuple_(arguments.is(Kind::tuple)) {}

  std::string run() {
    while (i_ < f_.size()) {
      const size_t end = std::min(f_.find('%', i_), f_.size());
      out_ += f_.substr(i_, end - i_);
      i_ = end + 1;
      if (end < f_.size()) conversion();
      in_.budget().check_string(out_.size());
    }
    const bool consumed = used_ >= (tuple_ ? arguments_.items().size() : 1);
    const bool free = arguments_.is(Kind::dict) || arguments_.is(Kind::list) || arguments_.is(Kind::undefined);
    if (!consumed && !mapping_ && !free) raise(Raised::type, "not all arguments converted during string formatting");
    return std::move(out_);
  }

 private:
  const Value& next() {
    if (used_ >= (tuple_ ? arguments_.items().size() : 1))
      raise(Raised::type, "not enough arguments for format string");
    return tuple_ ? arguments_.items()[used_++] : (++used_, arguments_);
  }

  Value keyed() {  // %(key)s
    size_t end = i_ + 1;
    for (int open = 1; end < f_.size(); ++end) {
      if (f_[end] == '(') ++open;
      if (f_[end] == ')' && --open == 0) break;
    }
    if (end >= f_.size()) raise(Raised::value, "incomplete format key");
    if (!arguments_.is(Kind::dict)) raise(Raised::type, "format requires a mapping");
    const std::string_view key = f_.substr(i_ + 1, end - i_ - 1);
    const Value* v = arguments_.dict().find(key);
    if (v == nullptr) raise(Raised::lookup, "{}", repr_string(key));
    mapping_ = true;
    i_ = end + 1;
    return *v;
  }

  Int number() {
    if (i_ < f_.size() && f_[i_] == '*') {
      ++i_;
      const Value& v = next();
      if (!v.is_integer()) raise(Raised::type, "* wants int");
      return v.integer();
    }
    Int n = 0;
    for (; i_ < f_.size() && f_[i_] >= '0' && f_[i_] <= '9'; ++i_)
      n = std::min<Int>(n * 10 + (f_[i_] - '0'), 2 * kMaxWidth);
    return n;
  }

  Conversion parse() {
    Conversion c;
    for (; i_ < f_.size(); ++i_) {
      if (f_[i_] == '-')
        c.minus = true;
      else if (f_[i_] == '+')
        c.plus = true;
      else if (f_[i_] == ' ')
        c.space = true;
      else if (f_[i_] == '0')
        c.zero = true;
      else if (f_[i_] == '#')
        c.alternate = true;
      else
        break;
    }
    c.width = std::clamp<Int>(number(), -2 * kMaxWidth, 2 * kMaxWidth);
    if (c.width < 0) c.minus = true, c.width = -c.width;
    if (i_ < f_.size() && f_[i_] == '.') ++i_, c.precision = std::clamp<Int>(number(), 0, 2 * kMaxWidth);
    while (i_ < f_.size() && (f_[i_] == 'h' || f_[i_] == 'l' || f_[i_] == 'L')) ++i_;
    if (i_ >= f_.size()) raise(Raised::value, "incomplete format");
    c.type = f_[i_++];
    return c;
  }

  void conversion() {
    in_.budget().spend(1);
    std::optional<Value> value;
    if (i_ < f_.size() && f_[i_] == '(') value = keyed();
    const Conversion c = parse();
    const bool text = std::string_view("srac").find(c.type) != std::string_view::npos;
    if (c.type == '%') {
      out_ += '%';
    } else if (!text && std::string_view("diuoxXeEfFgG").find(c.type) == std::string_view::npos) {
      raise(Raised::value, "unsupported format character '{}' ({:#x}) at index {}", c.type, static_cast<int>(c.type),
            i_ - 1);
    } else {
      const Value v = value ? *value : next();
      out_ += text ? percent_text(c, v, markup_) : percent_number(c, v);
    }
  }

  Interpreter& in_;
  const std::string_view f_;
  const Value& arguments_;
  const bool markup_, tuple_;
  std::string out_;
  size_t i_ = 0, used_ = 0;
  bool mapping_ = false;
};

}  // namespace

std::string python_format(Interpreter& in, std::string_view format, const Value& arguments, bool markup) {
  return PercentFormatter(in, format, arguments, markup).run();
}

Int to_index(const Value& v) {
  if (v.is_integer()) return v.integer();
  if (v.is(Kind::undefined)) raise_undefined(v);
  raise(Raised::type, "'{}' object cannot be interpreted as an integer", type_name(v));
}

std::optional<Int> parse_int(std::string_view text, int base) {
  text = strip(text);
  bool negative = false;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) negative = text[0] == '-', text.remove_prefix(1);
  const char kind = text.size() > 1 && text[0] == '0' ? static_cast<char>(text[1] | 0x20) : '\0';
  const int prefix = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 0;
  if (prefix != 0 && (base == 0 || base == prefix)) {
    base = prefix;
    text.remove_prefix(2);
    if (text.starts_with('_')) text.remove_prefix(1);
  } else if (base == 0) {
    base = 10;
    if (text.size() > 1 && text[0] == '0' && text.find_first_not_of("0_") != std::string_view::npos)
      return std::nullopt;
  }
  if (base < 2 || base > 36) raise(Raised::value, "int() base must be >= 2 and <= 36, or 0");
  Int value = 0;
  bool digit_before = false;
  for (size_t i = 0; i < text.size();) {
    const char32_t c = next_code_point(text, i);
    if (c == '_' && digit_before) {
      digit_before = false;
      continue;
    }
    const int digit = c >= '0' && c <= '9'                                 ? static_cast<int>(c - '0')
                      : c < 0x80 && (c | 0x20) >= 'a' && (c | 0x20) <= 'z' ? static_cast<int>((c | 0x20) - 'a') + 10
                                                                           : 99;
    if (digit >= base) return std::nullopt;
    if (__builtin_mul_overflow(value, static_cast<Int>(base), &value) ||
        __builtin_add_overflow(value, static_cast<Int>(digit), &value)) {
      raise(Raised::overflow, "integers are limited to 128 bits");
    }
    digit_before = true;
  }
  if (!digit_before) return std::nullopt;
  return negative ? -value : value;
}

std::optional<double> parse_float(std::string_view text) {
  text = strip(text);
  std::string s;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto is_digit = [&](size_t k) { return k < text.size() && text[k] >= '0' && text[k] <= '9'; };
    if (text[i] == '_') {
      if (i == 0 || !is_digit(i - 1) || !is_digit(i + 1)) return std::nullopt;
    } else {
      s += text[i];
    }
  }
  const std::string bare = lower(s.starts_with('-') || s.starts_with('+') ? s.substr(1) : s);
  if (bare != "inf" && bare != "infinity" && bare != "nan" &&
      (s.empty() || bare.find_first_not_of("0123456789.e+-") != std::string::npos))
    return std::nullopt;
  char* end = nullptr;
  const double d = std::strtod(s.c_str(), &end);
  if (end != s.c_str() + s.size()) return std::nullopt;
  return d;
}

}  // namespace caravan::text::jinja
