// The methods of str, dict, list, tuple, int and float that a template can call, with Python's argument rules and
// errors. What changes its object (append, update ...) is unsafe, as in Jinja's ImmutableSandboxedEnvironment.
#include <algorithm>
#include <cmath>
#include <span>

#include "caravan/base/markup.h"
#include "caravan/text/jinja_filters.h"
#include "caravan/text/jinja_methods.h"
#include "caravan/text/jinja_text.h"

namespace caravan::text::jinja {
namespace {

using Method = Value (*)(Interpreter& in, const Value& self, Arguments& a);

struct BoundMethod : Native {
  BoundMethod(Value self, std::string_view name, Method method) : self(std::move(self)), name(name), method(method) {}
  std::string type_name() const override { return "builtin_function_or_method"; }
  std::string repr() const override {
    return fmt::format("<built-in method {} of {} object>", name, jinja::type_name(self));
  }
  Value call(Interpreter& in, Arguments& arguments) override { return method(in, self, arguments); }
  Value self;
  std::string_view name;
  Method method;
};

const std::string& text_argument(const Value& v, std::string_view function) {
  if (!v.is(Kind::string)) raise(Raised::type, "{}() argument must be str, not {}", function, type_name(v));
  return v.str();
}

Value derived(Interpreter& in, const Value& self, std::string text) {
  return in.string(std::move(text), self.text().markup);
}

Value strings(Interpreter& in, const Value& self, std::vector<std::string> parts) {
  std::vector<Value> values;
  values.reserve(parts.size());
  for (std::string& part : parts) {
    in.budget().spend(1);
    values.push_back(derived(in, self, std::move(part)));
  }
  return make_list(in.budget(), std::move(values));
}

template <std::string (*F)(std::string_view)>
Value cased(Interpreter& in, const Value& self, Arguments& a) {
  a.bind("str method", {});
  in.budget().spend(static_cast<int64_t>(self.str().size() / 16));
  return derived(in, self, F(self.str()));
}

template <Side S>
Value stripped(Interpreter& in, const Value& self, Arguments& a) {
  const auto args = a.bind("strip", {"chars"});
  if (!a.keywords.empty()) raise(Raised::type, "str.strip() takes no keyword arguments");
  if (!given(args[0]) || args[0].is(Kind::none)) return derived(in, self, std::string(strip(self.str(), S)));
  if (!args[0].is(Kind::string)) raise(Raised::type, "strip arg must be None or str");
  return derived(in, self, std::string(strip(self.str(), args[0].str(), S)));
}

template <bool Right>
Value split_method(Interpreter& in, const Value& self, Arguments& a) {
  const auto args = a.bind("split", {"sep", "maxsplit"});
  const Int max = given(args[1]) ? std::clamp<Int>(to_index(args[1]), -1, 1 << 30) : -1;
  const auto limit = static_cast<int64_t>(max);
  in.budget().spend_bytes(self.str().size() * 4);
  if (!given(args[0]) || args[0].is(Kind::none)) {
    return strings(in, self, Right ? rsplit_whitespace(self.str(), limit) : split_whitespace(self.str(), limit));
  }
  if (!args[0].is(Kind::string)) raise(Raised::type, "must be str or None, not {}", type_name(args[0]));
  if (args[0].str().empty()) raise(Raised::value, "empty separator");
  return strings(in, self, Right ? rsplit(self.str(), args[0].str(), limit) : split(self.str(), args[0].str(), limit));
}

Value splitlines_method(Interpreter& in, const Value& self, Arguments& a) {
  const auto args = a.bind("splitlines", {"keepends"});
  in.budget().spend_bytes(self.str().size() * 4);
  return strings(in, self, splitlines(self.str(), given(args[0]) && truth(args[0])));
}

// The part of self between optional start and end arguments (code points); false where start lies past the end.
bool window(const Value& self, const Value& start, const Value& stop, std::string_view& part, size_t& begin) {
  const Int n = static_cast<Int>(length(self));
  const auto bound = [&](const Value& v, Int otherwise) {
    if (!given(v) || v.is(Kind::none)) return otherwise;
    const Int i = to_index(v);
    return i < 0 ? std::max<Int>(i + n, 0) : i;
  };
  const Int from = bound(start, 0), to = std::min(bound(stop, n), n);
  if (from > to) return false;
  begin = static_cast<size_t>(from);
  const std::string& s = self.str();
  const bool ascii = self.text().ascii;
  const size_t b = ascii ? begin : byte_offset(s, begin),
               e = ascii ? static_cast<size_t>(to) : byte_offset(s, static_cast<size_t>(to));
  part = std::string_view(s).substr(b, e - b);
  return true;
}

template <bool Starts>
Value affix(Interpreter& in, const Value& self, Arguments& a) {
  const auto args = a.bind(Starts ? "startswith" : "endswith", {"affix", "start", "end"}, 1);
  std::string_view part;
  size_t begin;
  if (!window(self, args[1], args[2], part, begin)) return Value(false);
  const auto matches = [&](const Value& v) {
    if (!v.is(Kind::string)) {
      raise(Raised::type, "{} first arg must be str or a tuple of str, not {}", Starts ? "startswith" : "endswith",
            type_name(v));
    }
    in.budget().spend_bytes(v.str().size());
    return Starts ? part.starts_with(v.str()) : part.ends_with(v.str());
  };
  if (!args[0].is(Kind::tuple)) return Value(matches(args[0]));
  return Value(std::any_of(args[0].items().begin(), args[0].items().end(), matches));
}

template <bool Reverse, bool Raises>
Value find_in(Interpreter& in, const Value& self, Arguments& a) {
  const auto args = a.bind("find", {"sub", "start", "end"}, 1);
  const std::string& sub = text_argument(args[0], "find");
  in.budget().spend_bytes(self.str().size());
  std::string_view part;
  size_t begin = 0, at = std::string_view::npos;
  if (window(self, args[1], args[2], part, begin)) at = Reverse ? part.rfind(sub) : part.find(sub);
  if (at != std::string_view::npos) return Value(begin + code_points(part.substr(0, at)));
  if (Raises) raise(Raised::value, "substring not found");
  return Value(-1);
}

Value count_method(Interpreter& in, const Value& self, Arguments& a) {
  const auto args = a.bind("count", {"sub", "start", "end"}, 1);
  const std::string& sub = text_argument(args[0], "count");
  in.budget().spend_bytes(self.str().size() * 4);
  std::string_view part;
  size_t begin, n = 0;
  if (!window(self, args[1], args[2], part, begin)) return Value(0);
  if (sub.empty()) return Value(code_points(part) + 1);
  for (size_t at = part.find(sub); at != std::string_view::npos; at = part.find(sub, at + sub.size())) ++n;
  return Value(n);
}

Value replace_method(Interpreter& in, const Value& self, Arguments& a) {
  const auto args = a.bind("replace", {"old", "new", "count"}, 2);
  if (!args[0].is(Kind::string) || !args[1].is(Kind::string))
    raise(Raised::type, "replace() argument must be str, not {}",
          type_name(args[0].is(Kind::string) ? args[1] : args[0]));
  const bool escape = self.text().markup && !args[1].text().markup;
  const std::string to = escape ? escape_markup(args[1].str()) : args[1].str();
  return derived(in, self, replace_text(in, self.str(), args[0].str(), to, given(args[2]) ? to_index(args[2]) : -1));
}

Value join_method(Interpreter& in, const Value& self, Arguments& a) {
  const auto args = a.bind("join", {"iterable"}, 1);
  if (args[0].is(Kind::native) || !iterable(args[0])) raise(Raised::type, "can only join an iterable");
  const Value iterator = in.iterate(args[0]);
  std::string out;
  size_t i = 0;
  for (Value v; iterator.iterator().next(v); ++i) {
    if (!v.is(Kind::string)) raise(Raised::type, "sequence item {}: expected str instance, {} found", i, type_name(v));
    if (i != 0) out += self.str();
    out += self.text().markup && !v.text().markup ? escape_markup(v.str()) : v.str();
    in.budget().spend(1);
    in.budget().check_string(out.size());
  }
  return derived(in, self, std::move(out));
}

Value format_method(Interpreter& in, const Value& self, Arguments& a) {
  return derived(in, self, self.text().markup ? markup_format(in, self.str(), a) : str_format(in, self.str(), a));
}

Value format_map_method(Interpreter& in, const Value& self, Arguments& a) {
  const auto args = a.bind("format_map", {"mapping"}, 1);
  if (!args[0].is(Kind::dict)) raise(Raised::type, "format_map() needs a mapping, not {}", type_name(args[0]));
  Arguments named;
  for (const auto& [key, value] : args[0].dict().items) {
    if (key.is(Kind::string)) named.keywords.emplace_back(key.str(), value);
  }
  return derived(in, self,
                 self.text().markup ? markup_format(in, self.str(), named) : str_format(in, self.str(), named));
}

template <char Align>
Value justified(Interpreter& in, const Value& self, Arguments& a) {
  const auto args = a.bind("center", {"width", "fillchar"}, 1);
  const std::string fill = given(args[1]) ? text_argument(args[1], "center") : " ";
  if (code_points(fill) != 1) raise(Raised::type, "The fill character must be exactly one character long");
  const Int n = static_cast<Int>(length(self)), missing = to_index(args[0]) - n;
  if (missing <= 0) return self;
  in.budget().check_string(missing > 1 << 30 ? in.budget().string_bytes + 1
                                             : static_cast<size_t>(missing) * fill.size());
  const Int left = Align == '>' ? missing : Align == '<' ? 0 : missing / 2 + (missing & (n + missing) & 1);
  std::string out;
  for (Int i = 0; i < left; ++i) out += fill;
  out += self.str();
  for (Int i = left; i < missing; ++i) out += fill;
  return derived(in, self, std::move(out));
}

Value zfill_method(Interpreter& in, const Value& self, Arguments& a) {
  const auto args = a.bind("zfill", {"width"}, 1);
  const Int missing = to_index(args[0]) - static_cast<Int>(length(self));
  if (missing <= 0) return self;
  in.budget().check_string(missing > 1 << 30 ? in.budget().string_bytes + 1 : static_cast<size_t>(missing));
  std::string out = self.str();
  const bool sign = out.starts_with('-') || out.starts_with('+');
  out.insert(sign ? 1 : 0, static_cast<size_t>(missing), '0');
  return derived(in, self, std::move(out));
}

Value expandtabs_method(Interpreter& in, const Value& self, Arguments& a) {
  const auto args = a.bind("expandtabs", {"tabsize"});
  const Int size = given(args[0]) ? std::clamp<Int>(to_index(args[0]), 0, 1 << 24) : 8;
  std::string out;
  Int column = 0;
  for (char c : self.str()) {
    if (c == '\t') {
      const Int n = size == 0 ? 0 : size - column % size;
      in.budget().check_string(out.size() + static_cast<size_t>(n));
      out.append(static_cast<size_t>(n), ' ');
      column += n;
    } else {
      out += c;
      if ((c & 0xc0) != 0x80) column = c == '\n' || c == '\r' ? 0 : column + 1;
    }
  }
  return derived(in, self, std::move(out));
}

template <bool Last>
Value partition_method(Interpreter& in, const Value& self, Arguments& a) {
  const auto args = a.bind("partition", {"sep"}, 1);
  const std::string& sep = text_argument(args[0], "partition");
  if (sep.empty()) raise(Raised::value, "empty separator");
  const std::string& s = self.str();
  const size_t at = Last ? s.rfind(sep) : s.find(sep);
  std::vector<Value> parts;
  if (at == std::string::npos) {
    parts = Last ? std::vector<Value>{in.string(""), in.string(""), self}
                 : std::vector<Value>{self, in.string(""), in.string("")};
  } else {
    parts = {derived(in, self, s.substr(0, at)), derived(in, self, sep), derived(in, self, s.substr(at + sep.size()))};
  }
  return make_tuple(in.budget(), std::move(parts));
}

template <bool Prefix>
Value remove_affix(Interpreter& in, const Value& self, Arguments& a) {
  const auto args = a.bind(Prefix ? "removeprefix" : "removesuffix", {"affix"}, 1);
  const std::string& affix = text_argument(args[0], "removeprefix");
  const std::string& s = self.str();
  if (Prefix ? !s.starts_with(affix) : !s.ends_with(affix)) return self;
  return derived(in, self, Prefix ? s.substr(affix.size()) : s.substr(0, s.size() - affix.size()));
}

template <bool (*F)(char32_t)>
Value all_characters(Interpreter& in, const Value& self, Arguments& a) {
  a.bind("str method", {});
  in.budget().spend(static_cast<int64_t>(self.str().size() / 16));
  const std::string& s = self.str();
  for (size_t i = 0; i < s.size();) {
    if (!F(next_code_point(s, i))) return Value(false);
  }
  return Value(!s.empty());
}

bool is_alnum(char32_t c) { return is_alpha(c) || is_decimal(c) || is_digit(c) || is_numeric(c); }

// islower and isupper: one cased character at least, none of the other case.
template <bool Upper>
Value all_cased(Interpreter& in, const Value& self, Arguments& a) {
  a.bind("str method", {});
  in.budget().spend(static_cast<int64_t>(self.str().size() / 16));
  bool any = false;
  const std::string& s = self.str();
  for (size_t i = 0; i < s.size();) {
    const char32_t c = next_code_point(s, i);
    if (is_title(c) || (Upper ? is_lower(c) : is_upper(c))) return Value(false);
    any |= Upper ? is_upper(c) : is_lower(c);
  }
  return Value(any);
}

Value istitle_method(Interpreter&, const Value& self, Arguments& a) {
  a.bind("istitle", {});
  bool any = false, in_word = false;
  const std::string& s = self.str();
  for (size_t i = 0; i < s.size();) {
    const char32_t c = next_code_point(s, i);
    if (is_upper(c) || is_title(c)) {
      if (in_word) return Value(false);
      any = in_word = true;
    } else if (is_lower(c)) {
      if (!in_word) return Value(false);
      any = true;
    } else {
      in_word = false;
    }
  }
  return Value(any);
}

Value isascii_method(Interpreter&, const Value& self, Arguments& a) {
  a.bind("isascii", {});
  return Value(self.text().ascii);
}
Value isprintable_method(Interpreter& in, const Value& self, Arguments& a) {
  return Value(self.str().empty() || all_characters<is_printable>(in, self, a).boolean());
}
Value isidentifier_method(Interpreter&, const Value& self, Arguments& a) {
  a.bind("isidentifier", {});
  const std::string& s = self.str();
  size_t i = 0;
  if (s.empty() || !(s[0] == '_' || is_alpha(next_code_point(s, i)))) return Value(false);
  for (i = 0; i < s.size();) {
    if (!is_word(next_code_point(s, i))) return Value(false);
  }
  return Value(true);
}

Value get_method(Interpreter&, const Value& self, Arguments& a) {
  if (!a.keywords.empty()) raise(Raised::type, "dict.get() takes no keyword arguments");
  const auto args = a.bind("get", {"key", "default"}, 1);
  if (!hashable(args[0])) raise(Raised::type, "unhashable type: '{}'", type_name(args[0]));
  const Value* v = self.dict().find(args[0]);
  return v != nullptr ? *v : given(args[1]) ? args[1] : Value::none();
}

template <int Which>  // 0 keys, 1 values, 2 items
Value dict_view(Interpreter& in, const Value& self, Arguments& a) {
  a.bind("dict view", {});
  std::vector<Value> items;
  items.reserve(self.dict().items.size());
  for (const auto& [key, value] : self.dict().items) {
    items.push_back(Which == 0 ? key : Which == 1 ? value : make_tuple(in.budget(), {key, value}));
  }
  return make_view(in.budget(), Which == 0 ? "dict_keys" : Which == 1 ? "dict_values" : "dict_items", std::move(items));
}

Value copy_method(Interpreter&, const Value& self, Arguments& a) {
  a.bind("copy", {});
  return self;  // nothing can change either of them
}

Value sequence_index(Interpreter&, const Value& self, Arguments& a) {
  const auto args = a.bind("index", {"value", "start", "stop"}, 1);
  const Int n = static_cast<Int>(self.items().size());
  const auto bound = [&](const Value& v, Int otherwise) {
    if (!given(v)) return otherwise;
    const Int i = to_index(v);
    return std::clamp<Int>(i < 0 ? i + n : i, 0, n);
  };
  for (Int i = bound(args[1], 0); i < bound(args[2], n); ++i) {
    if (equal(self.items()[static_cast<size_t>(i)], args[0])) return Value(i);
  }
  raise(Raised::value, "{} is not in list", repr(args[0]));
}

Value sequence_count(Interpreter&, const Value& self, Arguments& a) {
  const auto args = a.bind("count", {"value"}, 1);
  return Value(static_cast<Int>(
      std::count_if(self.items().begin(), self.items().end(), [&](const Value& v) { return equal(v, args[0]); })));
}

Value is_integer_method(Interpreter&, const Value& self, Arguments& a) {
  a.bind("is_integer", {});
  return Value(std::isfinite(self.real()) && self.real() == std::floor(self.real()));
}
Value bit_length_method(Interpreter&, const Value& self, Arguments& a) {
  a.bind("bit_length", {});
  int n = 0;
  for (Int i = self.integer(); i != 0; i /= 2) ++n;
  return Value(n);
}

using Table = std::pair<std::string_view, Method>;

constexpr Table kStr[] = {{"capitalize", cased<capitalize>},
                          {"casefold", cased<casefold>},
                          {"center", justified<'^'>},
                          {"count", count_method},
                          {"encode", encode_method},
                          {"endswith", affix<false>},
                          {"expandtabs", expandtabs_method},
                          {"find", find_in<false, false>},
                          {"format", format_method},
                          {"format_map", format_map_method},
                          {"index", find_in<false, true>},
                          {"isalnum", all_characters<is_alnum>},
                          {"isalpha", all_characters<is_alpha>},
                          {"isascii", isascii_method},
                          {"isdecimal", all_characters<is_decimal>},
                          {"isdigit", all_characters<is_digit>},
                          {"isidentifier", isidentifier_method},
                          {"islower", all_cased<false>},
                          {"isnumeric", all_characters<is_numeric>},
                          {"isprintable", isprintable_method},
                          {"isspace", all_characters<is_space>},
                          {"istitle", istitle_method},
                          {"isupper", all_cased<true>},
                          {"join", join_method},
                          {"ljust", justified<'<'>},
                          {"lower", cased<lower>},
                          {"lstrip", stripped<Side::left>},
                          {"maketrans", maketrans_method},
                          {"partition", partition_method<false>},
                          {"removeprefix", remove_affix<true>},
                          {"removesuffix", remove_affix<false>},
                          {"replace", replace_method},
                          {"rfind", find_in<true, false>},
                          {"rindex", find_in<true, true>},
                          {"rjust", justified<'>'>},
                          {"rpartition", partition_method<true>},
                          {"rsplit", split_method<true>},
                          {"rstrip", stripped<Side::right>},
                          {"split", split_method<false>},
                          {"splitlines", splitlines_method},
                          {"startswith", affix<true>},
                          {"strip", stripped<Side::both>},
                          {"swapcase", cased<swapcase>},
                          {"title", cased<title>},
                          {"translate", translate_method},
                          {"upper", cased<upper>},
                          {"zfill", zfill_method}};
constexpr Table kDict[] = {{"copy", copy_method},
                           {"get", get_method},
                           {"items", dict_view<2>},
                           {"keys", dict_view<0>},
                           {"values", dict_view<1>}};
constexpr Table kSequence[] = {{"count", sequence_count}, {"index", sequence_index}};
constexpr Table kList[] = {{"copy", copy_method}, {"count", sequence_count}, {"index", sequence_index}};
constexpr Table kFloat[] = {{"is_integer", is_integer_method}};
constexpr Table kInt[] = {{"bit_length", bit_length_method}};

constexpr std::string_view kUnsafeDict[] = {"clear", "pop", "popitem", "setdefault", "update"};
constexpr std::string_view kUnsafeList[] = {"append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"};

std::span<const Table> methods_of(Kind kind) {
  switch (kind) {
    case Kind::string:
      return kStr;
    case Kind::dict:
      return kDict;
    case Kind::list:
      return kList;
    case Kind::tuple:
    case Kind::range:
      return kSequence;
    case Kind::real:
      return kFloat;
    case Kind::integer:
    case Kind::boolean:
      return kInt;
    default:
      return {};
  }
}

}  // namespace

bool find_method(Interpreter& in, const Value& object, const std::string& name, Value& out) {
  for (const auto& [known, method] : methods_of(object.kind())) {
    if (known != name) continue;
    if (object.is(Kind::range)) {
      const Value list = make_tuple(in.budget(), in.list_of(object));
      out = make_native(new BoundMethod(list, known, method));
      return true;
    }
    auto bound = std::make_unique<BoundMethod>(object, known, method);
    bound->depth = depth_over(in.budget(), object);
    out = make_native(bound.release());
    return true;
  }
  if (object.is_number() &&
      (name == "real" || name == "imag" || (object.is_integer() && (name == "numerator" || name == "denominator")))) {
    if (name == "real" || name == "numerator")
      out = object.is(Kind::real) ? object : Value(object.integer());
    else
      out = object.is(Kind::real) ? Value(0.0) : Value(name == "imag" ? 0 : 1);
    return true;
  }
  const std::span<const std::string_view> unsafe =
      object.is(Kind::dict)   ? std::span<const std::string_view>(kUnsafeDict)
      : object.is(Kind::list) ? std::span<const std::string_view>(kUnsafeList)
                              : std::span<const std::string_view>();
  if (std::find(unsafe.begin(), unsafe.end(), name) == unsafe.end()) return false;
  out = make_undefined(fmt::format("access to attribute '{}' of '{}' object is unsafe.", name, type_name(object)),
                       Raised::security);
  return true;
}

}  // namespace caravan::text::jinja
