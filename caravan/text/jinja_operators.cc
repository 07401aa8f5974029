// Python's operators, membership and iteration on chat-template values. Sizes are checked before anything is allocated.
#include <algorithm>
#include <cmath>

#include "caravan/base/markup.h"
#include "caravan/text/jinja_interpreter.h"
#include "caravan/text/jinja_text.h"

namespace caravan::text::jinja {
namespace {

constexpr std::string_view kSymbols[] = {"+", "-", "*", "/", "//", "%", "** or pow()"};

[[noreturn]] void raise_operands(Op op, const Value& a, const Value& b) {
  raise(Raised::type, "unsupported operand type(s) for {}: '{}' and '{}'", kSymbols[static_cast<size_t>(op)],
        type_name(a), type_name(b));
}
[[noreturn]] void raise_big() { raise(Raised::overflow, "integers are limited to 128 bits"); }
[[noreturn]] void raise_zero(bool real) {
  raise(Raised::division, "{}", real ? "float division by zero" : "integer division or modulo by zero");
}

Int floor_div(Int a, Int b) {
  if (b == -1) {
    Int out;
    if (__builtin_sub_overflow(static_cast<Int>(0), a, &out)) raise_big();
    return out;
  }
  const Int q = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}

Value int_power(Int base, Int exponent) {
  if (exponent < 0) {
    if (base == 0) raise(Raised::division, "0.0 cannot be raised to a negative power");
    return Value(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  Int out = 1;
  if (base == 0 || base == 1) return Value(exponent == 0 ? static_cast<Int>(1) : base);
  if (base == -1) return Value(exponent % 2 == 0 ? 1 : -1);
  if (exponent > 127) raise_big();
  for (Int i = 0; i < exponent; ++i) {
    if (__builtin_mul_overflow(out, base, &out)) raise_big();
  }
  return Value(out);
}

Value int_arithmetic(Op op, Int a, Int b) {
  Int out = 0;
  bool overflow = false;
  switch (op) {
    case Op::add:
      overflow = __builtin_add_overflow(a, b, &out);
      break;
    case Op::sub:
      overflow = __builtin_sub_overflow(a, b, &out);
      break;
    case Op::mul:
      overflow = __builtin_mul_overflow(a, b, &out);
      break;
    case Op::div:
      if (b == 0) raise(Raised::division, "division by zero");
      return Value(static_cast<double>(a) / static_cast<double>(b));
    case Op::floordiv:
      if (b == 0) raise_zero(false);
      out = floor_div(a, b);
      break;
    case Op::mod:
      if (b == 0) raise_zero(false);
      out = b == -1 ? 0 : a - floor_div(a, b) * b;
      break;
    default:
      return int_power(a, b);
  }
  if (overflow) raise_big();
  return Value(out);
}

double float_mod(double a, double b) {
  double m = std::fmod(a, b);
  if (m != 0 && (b < 0) != (m < 0)) m += b;
  return m == 0 ? std::copysign(0.0, b) : m;
}

Value float_arithmetic(Op op, double a, double b) {
  switch (op) {
    case Op::add:
      return Value(a + b);
    case Op::sub:
      return Value(a - b);
    case Op::mul:
      return Value(a * b);
    case Op::div:
      if (b == 0) raise_zero(true);
      return Value(a / b);
    case Op::floordiv: {
      if (b == 0) raise(Raised::division, "float floor division by zero");
      const double quotient = (a - float_mod(a, b)) / b;
      return Value(quotient == 0 ? std::copysign(0.0, a / b)
                                 : std::floor(quotient) + (quotient - std::floor(quotient) > 0.5 ? 1.0 : 0.0));
    }
    case Op::mod:
      if (b == 0) raise(Raised::division, "float modulo");
      return Value(float_mod(a, b));
    default:
      break;
  }
  if (a == 0 && b < 0) raise(Raised::division, "0.0 cannot be raised to a negative power");
  if (a < 0 && b != std::floor(b)) raise(Raised::value, "complex numbers are not supported");
  const double p = std::pow(a, b);
  if (std::isinf(p) && std::isfinite(a) && std::isfinite(b))
    raise(Raised::overflow, "(34, 'Numerical result out of range')");
  return Value(p);
}

// str + str, where a Markup escapes what it is joined with.
Value concatenate(Interpreter& in, const Value& a, const Value& b) {
  if (!b.is(Kind::string)) raise(Raised::type, "can only concatenate str (not \"{}\") to str", type_name(b));
  const bool markup = a.text().markup || b.text().markup;
  const auto piece = [&](const Value& v) { return markup && !v.text().markup ? escape_markup(v.str()) : v.str(); };
  in.budget().check_string(a.str().size() + b.str().size());
  return in.string(piece(a) + piece(b), markup);
}

Value repeat(Interpreter& in, const Value& v, Int times) {
  times = std::max<Int>(times, 0);
  if (v.is(Kind::string)) {
    const size_t n = v.str().size();
    if (n == 0) return v;
    if (times > static_cast<Int>(in.budget().string_bytes)) in.budget().check_string(in.budget().string_bytes + 1);
    in.budget().check_string(n * static_cast<size_t>(times));
    std::string out;
    out.reserve(n * static_cast<size_t>(times));
    for (Int i = 0; i < times; ++i) out += v.str();
    return in.string(std::move(out), v.text().markup);
  }
  const size_t n = v.items().size();
  if (n != 0) in.budget().check_range(times);
  in.budget().check_range(static_cast<Int>(n) * (n != 0 ? times : 0));
  std::vector<Value> items;
  for (Int i = 0; n != 0 && i < times; ++i) items.insert(items.end(), v.items().begin(), v.items().end());
  return v.is(Kind::list) ? make_list(in.budget(), std::move(items)) : make_tuple(in.budget(), std::move(items));
}

bool is_repeatable(const Value& v) { return v.is(Kind::string) || v.is(Kind::list) || v.is(Kind::tuple); }

}  // namespace

Value Interpreter::binary(Op op, const Value& a, const Value& b) {
  if (a.is_integer() && b.is_integer()) return int_arithmetic(op, a.integer(), b.integer());
  if (a.is_number() && b.is_number()) return float_arithmetic(op, a.number(), b.number());
  if (op == Op::mod && a.is(Kind::string))
    return string(python_format(*this, a.str(), b, a.text().markup), a.text().markup);
  if (a.is(Kind::undefined)) raise_undefined(a);
  if (b.is(Kind::undefined)) raise_undefined(b);
  if (op == Op::add) {
    if (a.is(Kind::string)) return concatenate(*this, a, b);
    if ((a.is(Kind::list) || a.is(Kind::tuple)) && a.kind() == b.kind()) {
      std::vector<Value> items = a.items();
      items.insert(items.end(), b.items().begin(), b.items().end());
      return a.is(Kind::list) ? make_list(budget_, std::move(items)) : make_tuple(budget_, std::move(items));
    }
    if (a.is(Kind::list) || a.is(Kind::tuple)) {
      raise(Raised::type, "can only concatenate {} (not \"{}\") to {}", type_name(a), type_name(b), type_name(a));
    }
  }
  if (op == Op::mul) {
    if (is_repeatable(a) && b.is_integer()) return repeat(*this, a, b.integer());
    if (is_repeatable(b) && a.is_integer()) return repeat(*this, b, a.integer());
  }
  raise_operands(op, a, b);
}

bool Interpreter::contains(const Value& container, const Value& item) {
  switch (container.kind()) {
    case Kind::undefined:
      return false;
    case Kind::string:
      if (!item.is(Kind::string))
        raise(Raised::type, "'in <string>' requires string as left operand, not {}", type_name(item));
      budget_.spend_bytes(container.str().size());
      return container.str().find(item.str()) != std::string::npos;
    case Kind::list:
    case Kind::tuple:
    case Kind::view:
      return std::any_of(container.items().begin(), container.items().end(),
                         [&](const Value& v) { return equal(v, item); });
    case Kind::dict:
      if (!hashable(item)) raise(Raised::type, "unhashable type: '{}'", type_name(item));
      return container.dict().find(item) != nullptr;
    case Kind::range: {
      const Range& r = container.range();
      if (!item.is_number()) return false;
      if (item.is(Kind::real) && item.real() != std::floor(item.real())) return false;
      const Int offset = (item.is(Kind::real) ? static_cast<Int>(std::clamp(item.real(), -1e18, 1e18))
                                              : std::clamp<Int>(item.integer(), -(1ll << 62), 1ll << 62)) -
                         r.start;
      return offset % r.step == 0 && offset / r.step >= 0 && offset / r.step < r.size;
    }
    case Kind::iterator: {
      for (Value v; container.iterator().next(v);) {
        budget_.spend(1);
        if (equal(v, item)) return true;
      }
      return false;
    }
    default:
      raise(Raised::type, "argument of type '{}' is not iterable", type_name(container));
  }
}

bool Interpreter::compare(Op op, const Value& a, const Value& b) {
  switch (op) {
    case Op::eq:
      return equal(a, b);
    case Op::ne:
      return !equal(a, b);
    case Op::lt:
      return less(a, b, "<");
    case Op::lteq:
      return less(a, b, "<=");
    case Op::gt:
    case Op::gteq:
      if (a.is_number() && b.is_number()) return less(b, a, op == Op::gt ? "<" : "<=");
      if (a.kind() == b.kind() && (a.is(Kind::string) || a.is(Kind::list) || a.is(Kind::tuple)))
        return less(b, a, op == Op::gt ? "<" : "<=");
      return less(a, b, op == Op::gt ? "> " : ">=");  // raises
    case Op::in:
      return contains(b, a);
    default:
      return !contains(b, a);
  }
}

namespace {

struct FunctionIterator : Iterator {
  FunctionIterator(std::string type, std::function<bool(Value&)> step)
      : Iterator(std::move(type)), step(std::move(step)) {}
  bool next(Value& out) override { return step(out); }
  std::vector<Value> keeps;
  std::function<bool(Value&)> step;
};

struct IndexIterator : Iterator {  // over a list, tuple, view, dict (its keys), range or bytes
  explicit IndexIterator(const Value& over) : Iterator(std::string(type_name(over)) + "_iterator"), over(over) {}
  bool next(Value& out) override {
    if (over.is(Kind::range)) {
      if (static_cast<int64_t>(at) >= over.range().size) return false;
      out = over.range().at(static_cast<int64_t>(at++));
    } else if (over.is(Kind::native)) {
      size_t n = 0;
      if (!over.native().length(n) || at >= n) return false;
      return over.native().item(at++, out);
    } else if (over.is(Kind::dict)) {
      if (at >= over.dict().items.size()) return false;
      out = over.dict().items[at++].first;
    } else {
      if (at >= over.items().size()) return false;
      out = over.items()[at++];
    }
    return true;
  }
  Value over;
  size_t at = 0;
};

struct TextIterator : Iterator {
  explicit TextIterator(const Value& text) : Iterator("str_iterator"), text(text) {}
  bool next(Value& out) override {
    const std::string& s = text.str();
    if (at >= s.size()) return false;
    const size_t begin = at;
    next_code_point(s, at);
    out = make_string(*Budget::current, s.substr(begin, at - begin));
    return true;
  }
  Value text;
  size_t at = 0;
};

}  // namespace

Value make_iterator(Budget& budget, std::string type, std::vector<Value> keeps, std::function<bool(Value&)> next) {
  auto iterator = std::make_unique<FunctionIterator>(std::move(type), std::move(next));
  for (const Value& v : keeps) iterator->depth = std::max(iterator->depth, depth_over(budget, v));
  iterator->keeps = std::move(keeps);
  return Value(Kind::iterator, iterator.release());
}

Value Interpreter::iterate(const Value& v) {
  if (v.is(Kind::iterator)) return v;
  if (v.is(Kind::undefined)) return make_iterator(budget_, "generator", {}, [](Value&) { return false; });
  if (!iterable(v) || (v.is(Kind::native) && !v.native().is_sequence()))
    raise(Raised::type, "'{}' object is not iterable", type_name(v));
  std::unique_ptr<Iterator> iterator;
  if (v.is(Kind::string))
    iterator = std::make_unique<TextIterator>(v);
  else
    iterator = std::make_unique<IndexIterator>(v);
  iterator->depth = depth_over(budget_, v);
  return Value(Kind::iterator, iterator.release());
}

std::vector<Value> Interpreter::list_of(const Value& v) {
  if (v.is_sequence()) {
    budget_.spend(static_cast<int64_t>(v.items().size() / 4));
    return v.items();
  }
  const Value iterator = iterate(v);
  std::vector<Value> items;
  for (Value item; iterator.iterator().next(item);) {
    budget_.spend(1);
    budget_.check_range(v.is(Kind::string) ? 0 : static_cast<Int>(items.size()));
    items.push_back(item);
  }
  return items;
}

}  // namespace caravan::text::jinja
