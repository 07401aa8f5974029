// Expressions of the chat-template interpreter: evaluation of the syntax tree, attribute and item access.
// Semantics: jinja2/compiler.py and jinja2/sandbox.py (ImmutableSandboxedEnvironment) 3.1.6.
#include <algorithm>

#include "caravan/base/markup.h"
#include "caravan/text/jinja_interpreter.h"
#include "caravan/text/jinja_text.h"

namespace caravan::text::jinja {

Value Interpreter::evaluate(const Expression& e, Frame* frame) {
  budget_.spend(1);
  if (++evaluations_ > 16 * max_depth_) {
    --evaluations_;
    budget_.fail_depth("expressions and calls are");
  }
  struct Leave {
    int& counter;
    ~Leave() { --counter; }
  } leave{evaluations_};
  line_ = e.line;
  switch (e.kind) {
    case Expr::constant:
      return e.value;
    case Expr::name:
      return evaluate_name(e, frame);
    case Expr::attribute: {
      const Value object = evaluate(*e.items[0], frame);
      line_ = e.line;
      return get_attribute(object, e.text);
    }
    case Expr::item:
      return evaluate_item(e, frame);
    case Expr::tuple:
      return make_tuple(budget_, evaluate_all(e.items, frame));
    case Expr::list:
      return make_list(budget_, evaluate_all(e.items, frame));
    case Expr::dict:
      return evaluate_dict(e, frame);
    case Expr::arithmetic:
      return evaluate_arithmetic(e, frame);
    case Expr::compare:
      return evaluate_compare(e, frame);
    case Expr::concat:
      return evaluate_concat(e, frame);
    case Expr::negative:
    case Expr::positive:
      return negate(evaluate(*e.items[0], frame), e.kind == Expr::negative);
    case Expr::logical_not:
      return Value(!truth(evaluate(*e.items[0], frame)));
    case Expr::all_of:
    case Expr::any_of:
      return evaluate_boolean(e, frame);
    case Expr::conditional:
      return evaluate_conditional(e, frame);
    case Expr::filter:
      return evaluate_filter(e, frame, nullptr);
    case Expr::test:
      return evaluate_test(e, frame);
    case Expr::call:
      return evaluate_call(e, frame);
    case Expr::slice: {  // inside of a tuple of subscripts: no object takes one
      raise(Raised::type, "indices must be integers or slices, not tuple");
    }
    case Expr::space_ref:
      break;
  }
  raise(Raised::runtime, "an expression of an unknown kind");
}

Value Interpreter::evaluate_boolean(const Expression& e, Frame* frame) {
  Value v;
  for (const auto& item : e.items) {
    v = evaluate(*item, frame);
    if (truth(v) == (e.kind == Expr::any_of)) break;
  }
  return v;
}

Value Interpreter::evaluate_test(const Expression& e, Frame* frame) {
  const Value input = evaluate(*e.items[0], frame);
  Arguments arguments = evaluate_arguments(*e.arguments, frame);
  line_ = e.line;
  return Value(call_test(e.text, input, std::move(arguments)));
}

Value Interpreter::evaluate_call(const Expression& e, Frame* frame) {
  const Value callee = evaluate(*e.items[0], frame);
  Arguments arguments = evaluate_arguments(*e.arguments, frame);
  line_ = e.line;
  return call(callee, arguments);
}

Value Interpreter::evaluate_name(const Expression& e, Frame* frame) {
  for (const Frame* f = frame; f != nullptr; f = f->parent) {
    for (const auto& [id, value] : f->variables) {
      if (id == e.id) return value;
    }
  }
  if (context_[e.id]) return *context_[e.id];
  return make_undefined(fmt::format("'{}' is undefined", syntax_.names[e.id]));
}

std::vector<Value> Interpreter::evaluate_all(const std::vector<ExpressionPtr>& items, Frame* frame) {
  std::vector<Value> values;
  values.reserve(items.size());
  for (const auto& item : items) values.push_back(evaluate(*item, frame));
  return values;
}

Value Interpreter::evaluate_dict(const Expression& e, Frame* frame) {
  std::vector<std::pair<Value, Value>> items;
  items.reserve(e.items.size() / 2);
  for (size_t i = 0; i < e.items.size(); i += 2) {
    Value key = evaluate(*e.items[i], frame);
    items.emplace_back(std::move(key), evaluate(*e.items[i + 1], frame));
  }
  return make_dict(budget_, std::move(items));
}

Value Interpreter::evaluate_arithmetic(const Expression& e, Frame* frame) {
  Value left = evaluate(*e.items[0], frame);
  for (size_t i = 0; i < e.ops.size(); ++i) {
    const Value right = evaluate(*e.items[i + 1], frame);
    line_ = e.line;
    left = binary(e.ops[i], left, right);
  }
  return left;
}

Value Interpreter::evaluate_compare(const Expression& e, Frame* frame) {
  Value left = evaluate(*e.items[0], frame);
  for (size_t i = 0; i < e.ops.size(); ++i) {
    Value right = evaluate(*e.items[i + 1], frame);
    line_ = e.line;
    if (!compare(e.ops[i], left, right)) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Value Interpreter::evaluate_concat(const Expression& e, Frame* frame) {
  const std::vector<Value> values = evaluate_all(e.items, frame);
  const auto is_markup = [](const Value& v) { return v.is(Kind::string) && v.text().markup; };
  const bool escape = e.escape.on && !e.escape.dynamic && std::any_of(values.begin(), values.end(), is_markup);
  std::string text;
  for (const Value& v : values) {
    if (v.is(Kind::string) && (!escape || is_markup(v)))
      text += v.str();
    else
      text += escape ? escape_markup(to_text(v)) : to_text(v);
    budget_.check_string(text.size());
  }
  return string(std::move(text), escape);
}

Value Interpreter::evaluate_conditional(const Expression& e, Frame* frame) {
  if (truth(evaluate(*e.items[0], frame))) return evaluate(*e.items[1], frame);
  if (e.items[2]) return evaluate(*e.items[2], frame);
  return make_undefined(
      fmt::format("the inline if-expression on line {} evaluated to false and no else section was defined.", e.line));
}

Value Interpreter::evaluate_filter(const Expression& e, Frame* frame, const Value* block_text) {
  Value input;
  if (e.items[0] == nullptr)
    input = *block_text;
  else if (e.items[0]->kind == Expr::filter && block_text != nullptr)
    input = evaluate_filter(*e.items[0], frame, block_text);
  else
    input = evaluate(*e.items[0], frame);
  Arguments arguments = evaluate_arguments(*e.arguments, frame);
  line_ = e.line;
  return call_filter(e.text, std::move(input), std::move(arguments));
}

Arguments Interpreter::evaluate_arguments(const CallArguments& a, Frame* frame) {
  Arguments arguments;
  arguments.positional = evaluate_all(a.positional, frame);
  for (const auto& [name, e] : a.keywords) arguments.keywords.emplace_back(name, evaluate(*e, frame));
  if (a.star) {
    for (Value& v : list_of(evaluate(*a.star, frame))) arguments.positional.push_back(std::move(v));
  }
  if (a.double_star) {
    const Value extra = evaluate(*a.double_star, frame);
    if (!extra.is(Kind::dict)) raise(Raised::type, "argument after ** must be a mapping, not {}", type_name(extra));
    for (const auto& [key, value] : extra.dict().items) {
      if (!key.is(Kind::string)) raise(Raised::type, "keywords must be strings");
      for (const auto& [name, other] : arguments.keywords) {
        if (name == key.str()) raise(Raised::type, "got multiple values for keyword argument '{}'", name);
      }
      arguments.keywords.emplace_back(key.str(), value);
    }
  }
  return arguments;
}

Value Interpreter::negate(const Value& v, bool negative) {
  if (v.is(Kind::undefined)) raise_undefined(v);
  if (v.is(Kind::real)) return Value(negative ? -v.real() : v.real());
  if (v.is_integer()) {
    Int out = v.integer();
    if (negative && __builtin_sub_overflow(static_cast<Int>(0), out, &out))
      raise(Raised::overflow, "integers are limited to 128 bits");
    return Value(out);
  }
  raise(Raised::type, "bad operand type for unary {}: '{}'", negative ? "-" : "+", type_name(v));
}

Value Interpreter::evaluate_item(const Expression& e, Frame* frame) {
  const Value object = evaluate(*e.items[0], frame);
  const Expression& key = *e.items[1];
  if (key.kind == Expr::slice) return evaluate_slice(object, key, frame);
  const Value k = evaluate(key, frame);
  line_ = e.line;
  return get_item(object, k);
}

Value Interpreter::evaluate_slice(const Value& object, const Expression& slice, Frame* frame) {
  Value bounds[3];
  for (size_t i = 0; i < 3; ++i) bounds[i] = slice.items[i] ? evaluate(*slice.items[i], frame) : Value::none();
  return slice_value(*this, object, bounds[0], bounds[1], bounds[2]);
}

// Python's getattr() in the sandbox: methods and the attributes of Jinja's own objects; names that the sandbox hides
// give an undefined value that raises when it is used.
bool Interpreter::own_attribute(const Value& object, const std::string& name, Value& out) {
  switch (object.kind()) {
    case Kind::undefined:
      raise_undefined(object);
    case Kind::space:
      if (const Value* v = object.space().find(name)) return out = *v, true;
      return false;
    case Kind::native: {
      const Value keep = object;
      return object.native().attribute(*this, name, out);
    }
    case Kind::tuple:
      if (static_cast<const Sequence*>(object.object())->group) {
        if (name == "grouper") return out = object.items()[0], true;
        if (name == "list") return out = object.items()[1], true;
      }
      [[fallthrough]];
    default:
      return find_method(*this, object, name, out);
  }
}

namespace {
// Python's own attributes begin with two underscores: they are undefined, and any use of them raises, as in the
// sandbox. Their text is refused too (there it is empty): no template that works asks for it.
bool is_internal(std::string_view name) { return name.starts_with("__"); }

Value unsafe(const Value& object, std::string_view name) {
  return make_undefined(
      fmt::format("access to attribute '{}' of '{}' object is unsafe.", name.substr(0, 100), type_name(object)),
      Raised::hidden);
}

Value no_such(const Value& object, const Value& key) {
  if (key.is(Kind::string))
    return make_undefined(fmt::format("'{}' has no attribute {}", object_repr(object), repr(key)));
  return make_undefined(fmt::format("{} has no element {}", object_repr(object), repr(key)));
}

// object[key] as Python has it; false for what it answers with TypeError or LookupError.
bool python_item(const Value& object, const Value& key, Value& out) {
  if (object.is(Kind::undefined)) raise_undefined(object);
  if (object.is(Kind::dict)) {
    if (!hashable(key)) return false;
    const Value* v = key.is(Kind::string) ? object.dict().find(key.str()) : object.dict().find(key);
    return v != nullptr ? (out = *v, true) : false;
  }
  const bool indexable = object.is(Kind::string) || object.is(Kind::list) || object.is(Kind::tuple) ||
                         object.is(Kind::range) || (object.is(Kind::native) && object.native().is_sequence());
  if (!indexable || !key.is_integer()) return false;
  const Int n = static_cast<Int>(length(object));
  Int i = key.integer();
  if (i < 0) i += n;
  if (i < 0 || i >= n) return false;
  const auto at = static_cast<size_t>(i);
  if (object.is(Kind::range))
    out = object.range().at(static_cast<int64_t>(i));
  else if (object.is(Kind::native))
    return object.native().item(at, out);
  else if (!object.is(Kind::string))
    out = object.items()[at];
  else {
    const Text& text = object.text();
    Budget::tick(text.ascii ? 0 : text.value.size());
    const size_t begin = text.ascii ? at : byte_offset(text.value, at);
    size_t end = begin;
    next_code_point(text.value, end);
    out = make_string(*Budget::current, text.value.substr(begin, end - begin), text.markup);
  }
  return true;
}
}  // namespace

Value Interpreter::get_attribute(const Value& object, const std::string& name) {
  Value out;
  if (own_attribute(object, name, out)) return out;
  if (object.is(Kind::dict)) {
    if (const Value* v = object.dict().find(name)) return *v;
  }
  if (is_internal(name)) return unsafe(object, name);
  return make_undefined(fmt::format("'{}' has no attribute {}", object_repr(object), repr_string(name)));
}

Value Interpreter::get_item(const Value& object, const Value& key) {
  Value out;
  if (python_item(object, key, out)) return out;
  if (key.is(Kind::string)) {
    if (own_attribute(object, key.str(), out)) return out;
    if (is_internal(key.str())) return unsafe(object, key.str());
  }
  return no_such(object, key);
}

Value slice_value(Interpreter& in, const Value& object, const Value& start, const Value& stop, const Value& step) {
  if (object.is(Kind::undefined)) raise_undefined(object);
  const bool sliceable =
      object.is(Kind::string) || object.is(Kind::list) || object.is(Kind::tuple) || object.is(Kind::range);
  const auto whole = [](const Value& v) { return v.is_integer() || v.is(Kind::none); };
  if (object.is(Kind::dict)) raise(Raised::type, "unhashable type: 'slice'");
  if (!sliceable) raise(Raised::type, "'{}' object is not subscriptable", type_name(object));
  if (!whole(start) || !whole(stop) || !whole(step)) raise(Raised::type, "slice indices must be integers or None");
  const Int n = static_cast<Int>(length(object));
  const Int by = step.is(Kind::none) ? 1 : std::clamp<Int>(step.integer(), -(1ll << 40), 1ll << 40);
  if (by == 0) raise(Raised::value, "slice step cannot be zero");
  const auto bound = [&](const Value& v, Int otherwise) {
    if (v.is(Kind::none)) return otherwise;
    const Int i = v.integer() < 0 ? v.integer() + n : v.integer();
    const Int low = by < 0 ? -1 : 0, high = by < 0 ? n - 1 : n;
    return std::clamp(i, low, high);
  };
  const Int from = bound(start, by < 0 ? n - 1 : 0), to = bound(stop, by < 0 ? -1 : n);
  const Int count = by > 0 ? (to > from ? (to - from - 1) / by + 1 : 0) : (from > to ? (from - to - 1) / -by + 1 : 0);
  if (object.is(Kind::string)) {
    const Text& text = object.text();
    Budget::tick(text.value.size() * (text.ascii ? 1 : 16));
    std::string out;
    if (by == 1) {
      const size_t begin = text.ascii ? static_cast<size_t>(from) : byte_offset(text.value, static_cast<size_t>(from));
      const std::string_view rest = std::string_view(text.value).substr(begin);
      out = rest.substr(0, text.ascii ? static_cast<size_t>(count) : byte_offset(rest, static_cast<size_t>(count)));
    } else {
      const std::vector<size_t> offsets = code_point_offsets(text.value);
      Int i = from;
      for (Int k = 0; k < count; ++k, i += by) {
        const auto at = static_cast<size_t>(i);
        out.append(text.value, offsets[at], offsets[at + 1] - offsets[at]);
      }
    }
    return in.string(std::move(out), text.markup);
  }
  if (object.is(Kind::range)) {
    auto range = std::make_unique<Range>();
    const Range& r = object.range();
    range->start = r.start + static_cast<int64_t>(from) * r.step;
    range->step = static_cast<int64_t>(std::clamp<Int>(static_cast<Int>(r.step) * by, -(1ll << 60), 1ll << 60));
    range->stop = r.start + static_cast<int64_t>(to) * r.step;
    range->size = static_cast<int64_t>(count);
    return Value(Kind::range, range.release());
  }
  std::vector<Value> items;
  items.reserve(static_cast<size_t>(count));
  Int i = from;
  for (Int k = 0; k < count; ++k, i += by) items.push_back(object.items()[static_cast<size_t>(i)]);
  return object.is(Kind::list) ? make_list(in.budget(), std::move(items)) : make_tuple(in.budget(), std::move(items));
}

}  // namespace caravan::text::jinja
