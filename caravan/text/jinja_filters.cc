// Finds built-in filters by name, and holds those on numbers and on whole values. Source: jinja2/filters.py 3.1.6;
// tojson is transformers' own.
#include "caravan/text/jinja_filters.h"

#include <algorithm>
#include <cmath>

#include "caravan/text/jinja_text.h"

namespace caravan::text::jinja {
namespace {

Value abs_filter(Interpreter&, const Value& v, Arguments& a) {
  a.bind("abs", {});
  if (v.is(Kind::undefined)) raise_undefined(v);
  if (v.is(Kind::real)) return Value(std::fabs(v.real()));
  if (v.is_integer()) return Value(v.integer() < 0 ? -v.integer() : v.integer());
  raise(Raised::type, "bad operand type for abs(): '{}'", type_name(v));
}

Value default_filter(Interpreter& in, const Value& v, Arguments& a) {
  const auto args = a.bind("default", {"default_value", "boolean"});
  if (!v.is(Kind::undefined) && !(flag(args[1]) && !truth(v))) return v;
  return given(args[0]) ? args[0] : in.string("");
}

std::optional<Int> whole(double d) {
  if (!std::isfinite(d)) return std::nullopt;
  if (std::fabs(d) > 1e38) raise(Raised::overflow, "integers are limited to 128 bits");
  return static_cast<Int>(d);
}

Value int_filter(Interpreter&, const Value& v, Arguments& a) {
  const auto args = a.bind("int", {"default", "base"});
  const Value otherwise = given(args[0]) ? args[0] : Value(0);
  if (v.is(Kind::undefined)) raise_undefined(v);
  if (v.is_integer()) return Value(v.integer());
  std::optional<Int> result;
  if (v.is(Kind::real)) {
    if (std::isinf(v.real())) raise(Raised::overflow, "cannot convert float infinity to integer");
    result = whole(v.real());
  } else if (v.is(Kind::string)) {
    const Int base = given(args[1]) ? to_index(args[1]) : 10;
    if (base == 0 || (base >= 2 && base <= 36)) result = parse_int(v.str(), static_cast<int>(base));
    if (!result) {
      if (const auto d = parse_float(v.str())) result = whole(*d);
    }
  }
  return result ? Value(*result) : otherwise;
}

Value float_filter(Interpreter&, const Value& v, Arguments& a) {
  const auto args = a.bind("float", {"default"});
  if (v.is(Kind::undefined)) raise_undefined(v);
  if (v.is_number()) return Value(v.number());
  if (v.is(Kind::string)) {
    if (const auto d = parse_float(v.str())) return Value(*d);
  }
  return given(args[0]) ? args[0] : Value(0.0);
}

double round_half_even(double value, int precision) {
  if (!std::isfinite(value)) return value;
  if (precision >= 0)
    return precision > 300 ? value : std::strtod(fmt::format("{:.{}f}", value, precision).c_str(), nullptr);
  if (precision < -308) return std::copysign(0.0, value);
  const double scale = std::pow(10.0, -precision);
  return std::nearbyint(value / scale) * scale;
}

Value round_filter(Interpreter& in, const Value& v, Arguments& a) {
  const auto args = a.bind("round", {"precision", "method"});
  const std::string method = given(args[1]) ? to_text(args[1]) : "common";
  if (method != "common" && method != "ceil" && method != "floor")
    raise(Raised::runtime, "method must be common, ceil or floor");
  const Value precision = given(args[0]) ? args[0] : Value(0);
  if (v.is(Kind::undefined)) raise_undefined(v);
  if (!v.is_number()) raise(Raised::type, "type {} doesn't define __round__ method", type_name(v));
  const Int digits =
      std::clamp<Int>(method == "common" && precision.is(Kind::none) ? 0 : to_index(precision), -400, 400);
  if (method == "common") {
    if (v.is(Kind::real)) {
      const double rounded = round_half_even(v.real(), static_cast<int>(digits));
      if (!precision.is(Kind::none)) return Value(rounded);
      return Value(whole(rounded).value_or(0));
    }
    if (digits >= 0) return Value(v.integer());
    if (digits < -38) return Value(0);
    const Int scale = in.binary(Op::pow, Value(10), Value(-digits)).integer(), half = scale / 2;
    const Int quotient = in.binary(Op::floordiv, v, Value(scale)).integer(), rest = v.integer() - quotient * scale;
    return Value((quotient + (rest > half || (rest == half && quotient % 2 != 0) ? 1 : 0)) * scale);
  }
  const Value scale = in.binary(Op::pow, Value(10), Value(digits));
  const Value scaled = in.binary(Op::mul, v, scale);
  const double d = method == "ceil" ? std::ceil(scaled.number()) : std::floor(scaled.number());
  const auto out = whole(d);
  if (!out) raise(Raised::overflow, "cannot convert float to integer");
  return in.binary(Op::div, Value(*out), scale);
}

Value filesizeformat_filter(Interpreter& in, const Value& v, Arguments& a) {
  const auto args = a.bind("filesizeformat", {"binary"});
  Arguments none;
  const double bytes = float_filter(in, v, none).number();
  const bool binary = flag(args[0]);
  const double base = binary ? 1024 : 1000;
  if (bytes == 1) return in.string("1 Byte");
  if (bytes < base) return in.string(fmt::format("{} Bytes", static_cast<int64_t>(bytes)));
  double unit = base;
  constexpr std::string_view kPrefixes = "kMGTPEZY";
  for (size_t i = 0; i < kPrefixes.size(); ++i) {
    unit *= base;
    if (bytes < unit || i + 1 == kPrefixes.size()) {
      const char prefix = binary && i == 0 ? 'K' : kPrefixes[i];
      return in.string(fmt::format("{:.1f} {}{}", base * bytes / unit, prefix, binary ? "iB" : "B"));
    }
  }
  return in.string("");
}

Value attr_filter(Interpreter& in, const Value& v, Arguments& a) {
  const auto args = a.bind("attr", {"name"}, 1);
  if (!args[0].is(Kind::string)) raise(Raised::type, "attribute name must be string, not '{}'", type_name(args[0]));
  Value out;
  if (in.own_attribute(v, args[0].str(), out)) return out;
  if (v.is(Kind::dict)) return make_undefined(fmt::format("'{}' has no attribute {}", object_repr(v), repr(args[0])));
  return in.get_attribute(v, args[0].str());
}

Value tojson_filter(Interpreter& in, const Value& v, Arguments& a) {
  const auto args = a.bind("tojson", {"ensure_ascii", "indent", "separators", "sort_keys"});
  const auto optional = [](const Value& x) { return given(x) ? x : Value::none(); };
  return in.string(to_json(in, v, flag(args[0]), optional(args[1]), optional(args[2]), flag(args[3])));
}

Value length_filter(Interpreter&, const Value& v, Arguments& a) {
  a.bind("len", {});
  return Value(length(v));
}

constexpr FilterEntry kNumber[] = {
    {"abs", abs_filter},     {"attr", attr_filter},       {"count", length_filter},
    {"d", default_filter},   {"default", default_filter}, {"filesizeformat", filesizeformat_filter},
    {"float", float_filter}, {"int", int_filter},         {"length", length_filter},
    {"round", round_filter}, {"tojson", tojson_filter}};

}  // namespace

std::span<const FilterEntry> number_filters() { return kNumber; }

Filter find_filter(std::string_view name) {
  static const std::unordered_map<std::string_view, Filter> all = [] {
    std::unordered_map<std::string_view, Filter> map;
    for (const auto& part :
         {number_filters(), text_filters(), sequence_filters(), selection_filters(), print_filters(), link_filters()})
      map.insert(part.begin(), part.end());
    return map;
  }();
  const auto it = all.find(name);
  return it == all.end() ? nullptr : it->second;
}

AttributePath::AttributePath(Interpreter& in, const Value& attribute) {
  if (!has(attribute)) return;
  if (!attribute.is(Kind::string)) {
    parts_.push_back(attribute);
    return;
  }
  for (const std::string& part : split(attribute.str(), ".")) {
    const bool index = !part.empty() && part.size() < 18 && part.find_first_not_of("0123456789") == std::string::npos;
    parts_.push_back(index ? Value(static_cast<Int>(std::stoll(part))) : in.string(part));
  }
}

Value AttributePath::operator()(Interpreter& in, Value item, const Value& otherwise) const {
  for (const Value& part : parts_) {
    item = in.get_item(item, part);
    if (has(otherwise) && item.is(Kind::undefined)) item = otherwise;
  }
  return item;
}

Value ignore_case(Interpreter& in, const Value& v, bool case_sensitive) {
  return !case_sensitive && v.is(Kind::string) ? in.string(lower(v.str())) : v;
}

}  // namespace caravan::text::jinja
