// See jinja_value.h. Printing follows CPython's object implementations; messages those of CPython and Jinja 3.1.
#include "caravan/text/jinja_value.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "caravan/text/jinja_text.h"

namespace caravan::text::jinja {

thread_local Budget* Budget::current = nullptr;

void Budget::fail_fuel() const {
  fail_file(FileFault::fuel, where, "the template does too much work; simplify it, or raise TemplateLimits::fuel");
}
void Budget::fail_depth(std::string_view of) const {
  fail_file(FileFault::limit, where, "{} nested too deeply; TemplateLimits::depth bounds it", of);
}
void Budget::fail_string(size_t n) const {
  fail_file(FileFault::fuel, where, "a text of {} bytes; TemplateLimits::output_bytes allows {}", n, string_bytes);
}
void Budget::fail_range() const {
  fail_file(FileFault::fuel, where, "a range or repetition longer than {}; TemplateLimits::range bounds it", range);
}
void Budget::fail_memory(size_t bytes) {
  live_ -= bytes;  // the object that asked does not come to life
  fail_file(FileFault::fuel, where, "the template's values need more than {} bytes of memory", live_limit_);
}

uint16_t depth_over(Budget& budget, const Value& v) {
  const uint16_t inner = v.object() != nullptr ? v.object()->depth : 0;
  if (inner >= kMaxValueDepth) budget.fail_depth("values are");
  return static_cast<uint16_t>(inner + 1);
}

namespace {

void charge(Budget& budget, Charged& object, size_t bytes) {
  budget.spend_bytes(bytes);
  budget.hold(bytes);
  object.budget = &budget;
  object.bytes = bytes;
}

uint16_t depth_over(Budget& budget, const std::vector<Value>& items) {
  uint16_t depth = 1;
  for (const Value& v : items) depth = std::max(depth, jinja::depth_over(budget, v));
  return depth;
}

Value make_sequence(Budget& budget, Kind kind, std::vector<Value> items, const char* view_name = nullptr,
                    bool group = false) {
  auto sequence = std::make_unique<Sequence>();
  sequence->depth = depth_over(budget, items);
  charge(budget, *sequence, 64 + items.size() * sizeof(Value));
  budget.spend(static_cast<int64_t>(items.size() / 4));
  sequence->items = std::move(items);
  sequence->view_name = view_name;
  sequence->group = group;
  return Value(kind, sequence.release());
}

}  // namespace

Value make_string(Budget& budget, std::string text, bool markup) {
  budget.check_string(text.size());
  auto object = std::make_unique<Text>();
  charge(budget, *object, 64 + text.size());
  object->ascii = is_ascii(text);
  object->markup = markup;
  object->value = std::move(text);
  return Value(Kind::string, object.release());
}

Value make_constant(std::string text) {
  auto object = std::make_unique<Text>();
  object->ascii = is_ascii(text);
  object->value = std::move(text);
  return Value(Kind::string, object.release());
}

Value make_list(Budget& budget, std::vector<Value> items) {
  return make_sequence(budget, Kind::list, std::move(items));
}
Value make_tuple(Budget& budget, std::vector<Value> items) {
  return make_sequence(budget, Kind::tuple, std::move(items));
}
Value make_view(Budget& budget, const char* name, std::vector<Value> items) {
  return make_sequence(budget, Kind::view, std::move(items), name);
}
Value make_group(Budget& budget, Value key, Value list) {
  return make_sequence(budget, Kind::tuple, {std::move(key), std::move(list)}, nullptr, true);
}

Value make_dict(Budget& budget, std::vector<std::pair<Value, Value>> items) {
  auto dict = std::make_unique<Dict>();
  const bool indexed = items.size() > 8;
  dict->items.reserve(items.size());
  for (auto& [key, value] : items) {
    if (!hashable(key)) raise(Raised::type, "unhashable type: '{}'", type_name(key));
    dict->depth = std::max({dict->depth, jinja::depth_over(budget, key), jinja::depth_over(budget, value)});
    if (const Value* old = dict->find(key)) {
      *const_cast<Value*>(old) = std::move(value);
      continue;
    }
    if (indexed) dict->index.emplace(hash(key), dict->items.size());
    dict->items.emplace_back(std::move(key), std::move(value));
  }
  charge(budget, *dict, 64 + dict->items.size() * (2 * sizeof(Value) + (indexed ? 48 : 0)));
  budget.spend(static_cast<int64_t>(dict->items.size() / 2));
  return Value(Kind::dict, dict.release());
}

const Value* Dict::find(const Value& key) const {
  if (index.empty()) {
    for (const auto& [k, v] : items) {
      if (equal(k, key)) return &v;
    }
    return nullptr;
  }
  const auto [begin, end] = index.equal_range(hash(key));
  for (auto it = begin; it != end; ++it) {
    if (equal(items[it->second].first, key)) return &items[it->second].second;
  }
  return nullptr;
}

const Value* Dict::find(std::string_view key) const {
  const auto matches = [&](const Value& k) { return k.is(Kind::string) && k.str() == key; };
  if (index.empty()) {
    for (const auto& [k, v] : items) {
      if (matches(k)) return &v;
    }
    return nullptr;
  }
  const auto [begin, end] = index.equal_range(std::hash<std::string_view>()(key));
  for (auto it = begin; it != end; ++it) {
    if (matches(items[it->second].first)) return &items[it->second].second;
  }
  return nullptr;
}

Value* Space::find(std::string_view name) {
  for (auto& [k, v] : attributes) {
    if (k == name) return &v;
  }
  return nullptr;
}

Value make_undefined(std::string message, Raised raised) {
  auto missing = std::make_unique<Missing>();
  if (message.size() > 500) message = std::string(message, 0, byte_offset(message, 400)) + "...";
  if (Budget::current) charge(*Budget::current, *missing, 96 + message.size());
  missing->message = std::move(message);
  missing->raised = raised;
  return Value(Kind::undefined, missing.release());
}

Value make_native(Native* native) { return Value(Kind::native, native); }

Value Native::call(Interpreter&, Arguments&) { raise(Raised::type, "'{}' object is not callable", type_name()); }

void raise_undefined(const Value& v) {
  const Missing* missing = v.missing();
  throw PythonError{missing ? missing->raised : Raised::undefined, missing ? missing->message : "value is undefined"};
}

bool given(const Value& v) { return !(v.is(Kind::undefined) && v.missing() == nullptr); }

std::vector<Value> Arguments::bind(std::string_view function, std::initializer_list<std::string_view> names,
                                   size_t required) {
  if (positional.size() > names.size()) {
    raise(Raised::type, "{}() takes at most {} arguments ({} given)", function, names.size(), positional.size());
  }
  std::vector<Value> bound(positional.begin(), positional.end());
  for (Value& v : bound) {
    if (!given(v)) v = make_undefined("value is undefined");
  }
  bound.resize(names.size());
  for (auto& [name, value] : keywords) {
    const auto it = std::find(names.begin(), names.end(), name);
    if (it == names.end()) raise(Raised::type, "{}() got an unexpected keyword argument '{}'", function, name);
    Value& slot = bound[static_cast<size_t>(it - names.begin())];
    if (given(slot)) raise(Raised::type, "{}() got multiple values for argument '{}'", function, name);
    slot = value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (!given(bound[i])) raise(Raised::type, "{}() missing a required argument: '{}'", function, *(names.begin() + i));
  }
  return bound;
}

Value from_json(Budget& budget, const Json& json) {
  switch (json.type()) {
    case Json::value_t::null:
    case Json::value_t::discarded:
      return Value::none();
    case Json::value_t::boolean:
      return Value(json.get<bool>());
    case Json::value_t::number_integer:
      return Value(static_cast<Int>(json.get<int64_t>()));
    case Json::value_t::number_unsigned:
      return Value(static_cast<Int>(json.get<uint64_t>()));
    case Json::value_t::number_float:
      return Value(json.get<double>());
    case Json::value_t::string: {
      const auto& s = json.get_ref<const std::string&>();
      return make_string(budget, valid_utf8(s) ? s : sanitize_utf8(s));
    }
    case Json::value_t::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const Json& item : json) items.push_back(from_json(budget, item));
      return make_list(budget, std::move(items));
    }
    case Json::value_t::object: {
      std::vector<std::pair<Value, Value>> items;
      items.reserve(json.size());
      for (const auto& [key, value] : json.items()) {
        items.emplace_back(make_string(budget, valid_utf8(key) ? key : sanitize_utf8(key)), from_json(budget, value));
      }
      return make_dict(budget, std::move(items));
    }
    case Json::value_t::binary:
      break;
  }
  fail(ErrorCode::invalid_argument, "{}: binary values cannot be given to a template", budget.where);
}

std::string_view type_name(const Value& v) {
  switch (v.kind()) {
    case Kind::undefined:
      return "Undefined";
    case Kind::none:
      return "NoneType";
    case Kind::boolean:
      return "bool";
    case Kind::integer:
      return "int";
    case Kind::real:
      return "float";
    case Kind::string:
      return v.text().markup ? "Markup" : "str";
    case Kind::list:
      return "list";
    case Kind::tuple:
      return "tuple";
    case Kind::dict:
      return "dict";
    case Kind::view:
      return static_cast<const Sequence*>(v.object())->view_name;
    case Kind::range:
      return "range";
    case Kind::iterator:
      return v.iterator().type;
    case Kind::space:
      return "TemplateNamespace";
    case Kind::native:
      return v.native().is_sequence() ? "bytes" : "function";
  }
  return "object";
}

std::string object_repr(const Value& v) {
  if (v.is(Kind::none)) return "None";
  if (v.is(Kind::undefined)) return "jinja2.runtime.Undefined object";
  if (v.is(Kind::string) && v.text().markup) return "markupsafe.Markup object";
  if (v.is(Kind::space)) return "transformers.utils.chat_template_utils.TemplateNamespace object";
  if (v.is(Kind::native)) return v.native().type_name() + " object";
  return std::string(type_name(v)) + " object";
}

bool truth(const Value& v) {
  switch (v.kind()) {
    case Kind::undefined:
    case Kind::none:
      return false;
    case Kind::boolean:
    case Kind::integer:
      return v.integer() != 0;
    case Kind::real:
      return v.real() != 0;
    case Kind::string:
      return !v.str().empty();
    case Kind::list:
    case Kind::tuple:
    case Kind::view:
      return !v.items().empty();
    case Kind::dict:
      return !v.dict().items.empty();
    case Kind::range:
      return v.range().size != 0;
    case Kind::native: {
      size_t n = 1;
      return !v.native().length(n) || n != 0;
    }
    default:
      return true;
  }
}

bool identical(const Value& a, const Value& b) {
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::none:
      return true;
    case Kind::boolean:
      return a.boolean() == b.boolean();
    case Kind::integer:
      return a.integer() == b.integer() && a.integer() >= -5 && a.integer() <= 256;
    case Kind::real:
      return false;
    case Kind::string:
      return a.object() == b.object() || (a.str() == b.str() && a.str().size() <= 1);
    default:
      return a.object() == b.object();
  }
}

bool equal(const Value& a, const Value& b) {
  Budget::tick(a.is(Kind::string) ? a.str().size() : 0);
  if (a.is_number() && b.is_number()) {
    if (a.is_integer() && b.is_integer()) return a.integer() == b.integer();
    return a.number() == b.number();
  }
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::undefined:
    case Kind::none:
      return true;
    case Kind::string:
      return a.object() == b.object() || a.str() == b.str();
    case Kind::list:
    case Kind::tuple:
      return a.object() == b.object() ||
             std::equal(a.items().begin(), a.items().end(), b.items().begin(), b.items().end(), equal);
    case Kind::dict: {
      const Dict &x = a.dict(), &y = b.dict();
      return x.items.size() == y.items.size() && std::all_of(x.items.begin(), x.items.end(), [&](const auto& item) {
               const Value* other = y.find(item.first);
               return other != nullptr && equal(item.second, *other);
             });
    }
    case Kind::range: {
      const Range &x = a.range(), &y = b.range();
      return x.size == y.size && (x.size == 0 || (x.start == y.start && (x.size == 1 || x.step == y.step)));
    }
    case Kind::native:
      return a.native().equals(b.native());
    default:
      return a.object() == b.object();
  }
}

bool less(const Value& a, const Value& b, const char* op) {
  Budget::tick(a.is(Kind::string) ? a.str().size() : 0);
  if (a.is(Kind::undefined)) raise_undefined(a);
  if (b.is(Kind::undefined)) raise_undefined(b);
  const bool or_equal = op[1] == '=';
  if (a.is_integer() && b.is_integer()) return or_equal ? a.integer() <= b.integer() : a.integer() < b.integer();
  if (a.is_number() && b.is_number()) return or_equal ? a.number() <= b.number() : a.number() < b.number();
  if (a.is(Kind::string) && b.is(Kind::string)) return or_equal ? a.str() <= b.str() : a.str() < b.str();
  if (a.kind() == b.kind() && (a.is(Kind::list) || a.is(Kind::tuple))) {
    const auto &x = a.items(), &y = b.items();
    for (size_t i = 0; i < x.size() && i < y.size(); ++i) {
      if (!equal(x[i], y[i])) return less(x[i], y[i], op);
    }
    return or_equal ? x.size() <= y.size() : x.size() < y.size();
  }
  raise(Raised::type, "'{}' not supported between instances of '{}' and '{}'", op, type_name(a), type_name(b));
}

bool hashable(const Value& v) {
  Budget::tick();
  if (v.is(Kind::list) || v.is(Kind::dict)) return false;
  if (v.is(Kind::tuple)) return std::all_of(v.items().begin(), v.items().end(), hashable);
  return true;
}

size_t hash(const Value& v) {
  Budget::tick(v.is(Kind::string) ? v.str().size() : 0);
  switch (v.kind()) {
    case Kind::boolean:
    case Kind::integer:
      return std::hash<double>()(static_cast<double>(v.integer()));
    case Kind::real:
      return std::hash<double>()(v.real());
    case Kind::string:
      return std::hash<std::string_view>()(v.str());
    case Kind::tuple: {
      size_t h = 17;
      for (const Value& item : v.items()) h = h * 1000003 + hash(item);
      return h;
    }
    case Kind::undefined:
    case Kind::none:
      return 3;
    case Kind::range:
      return static_cast<size_t>(v.range().size);
    case Kind::native:
      return v.native().hash();
    default:
      return std::hash<const void*>()(v.object());
  }
}

bool has_length(const Value& v) {
  size_t n;
  return v.is(Kind::undefined) || v.is(Kind::string) || v.is_sequence() || v.is(Kind::dict) || v.is(Kind::range) ||
         (v.is(Kind::native) && v.native().length(n));
}

size_t length(const Value& v) {
  switch (v.kind()) {
    case Kind::undefined:
      return 0;
    case Kind::string:
      return v.text().ascii ? v.str().size() : code_points(v.str());
    case Kind::list:
    case Kind::tuple:
    case Kind::view:
      return v.items().size();
    case Kind::dict:
      return v.dict().items.size();
    case Kind::range:
      return static_cast<size_t>(v.range().size);
    case Kind::native: {
      size_t n;
      if (v.native().length(n)) return n;
      break;
    }
    default:
      break;
  }
  raise(Raised::type, "object of type '{}' has no len()", type_name(v));
}

bool iterable(const Value& v) {
  size_t n;
  return v.is(Kind::undefined) || v.is(Kind::string) || v.is_sequence() || v.is(Kind::dict) || v.is(Kind::range) ||
         v.is(Kind::iterator) || (v.is(Kind::native) && v.native().length(n));
}

std::string int_text(Int i) {
  unsigned __int128 u = i < 0 ? -static_cast<unsigned __int128>(i) : static_cast<unsigned __int128>(i);
  std::string digits;
  do digits += static_cast<char>('0' + static_cast<int>(u % 10));
  while ((u /= 10) != 0);
  if (i < 0) digits += '-';
  std::reverse(digits.begin(), digits.end());
  return digits;
}

std::string float_text(double d) {
  if (std::isnan(d)) return "nan";
  if (std::isinf(d)) return d < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, d, std::chars_format::scientific).ptr;
  const std::string_view text(buffer, static_cast<size_t>(end - buffer));  // -d.ddde+XX, the shortest that reads back
  const size_t e = text.find('e');
  const int exponent = std::stoi(std::string(text.substr(e + 1)));
  if (exponent < -4 || exponent >= 16) return std::string(text);
  const auto fixed = std::to_chars(buffer, buffer + sizeof buffer, d, std::chars_format::fixed).ptr;
  std::string out(buffer, static_cast<size_t>(fixed - buffer));
  if (out.find('.') == std::string::npos) out += ".0";
  return out;
}

namespace {

void refuse_internal(const Value& v) {
  if (v.missing() != nullptr && v.missing()->raised == Raised::hidden) raise_undefined(v);
}

void append_repr(std::string& out, const Value& v, int depth);

void append_items(std::string& out, const std::vector<Value>& items, int depth) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (i != 0) out += ", ";
    append_repr(out, items[i], depth);
  }
}

void append_dict(std::string& out, const Dict& dict, int depth) {
  out += '{';
  for (size_t i = 0; i < dict.items.size(); ++i) {
    if (i != 0) out += ", ";
    append_repr(out, dict.items[i].first, depth);
    out += ": ";
    append_repr(out, dict.items[i].second, depth);
  }
  out += '}';
}

void append_space(std::string& out, const Space& space, int depth) {
  out += "<Namespace {";
  for (size_t i = 0; i < space.attributes.size(); ++i) {
    if (i != 0) out += ", ";
    out += repr_string(space.attributes[i].first) + ": ";
    append_repr(out, space.attributes[i].second, depth);
  }
  out += "}>";
}

void append_repr(std::string& out, const Value& v, int depth) {
  Budget::tick(v.is(Kind::string) ? v.str().size() : 0);
  if (Budget::current) Budget::current->check_string(out.size());
  if (depth > 4 * kMaxValueDepth)
    raise(Raised::runtime, "maximum recursion depth exceeded while getting the repr of an object");
  switch (v.kind()) {
    case Kind::undefined:
      refuse_internal(v);
      out += "Undefined";
      break;
    case Kind::none:
      out += "None";
      break;
    case Kind::boolean:
      out += v.boolean() ? "True" : "False";
      break;
    case Kind::integer:
      out += int_text(v.integer());
      break;
    case Kind::real:
      out += float_text(v.real());
      break;
    case Kind::string: {
      const std::string quoted = repr_string(v.str());
      out += v.text().markup ? "Markup(" + quoted + ")" : quoted;
      break;
    }
    case Kind::list:
    case Kind::tuple:
      out += v.is(Kind::list) ? '[' : '(';
      append_items(out, v.items(), depth + 1);
      if (v.is(Kind::tuple) && v.items().size() == 1) out += ',';
      out += v.is(Kind::list) ? ']' : ')';
      break;
    case Kind::view:
      out += fmt::format("{}([", type_name(v));
      append_items(out, v.items(), depth + 1);
      out += "])";
      break;
    case Kind::dict:
      append_dict(out, v.dict(), depth + 1);
      break;
    case Kind::range: {
      const Range& r = v.range();
      out += fmt::format("range({}, {}", r.start, r.stop);
      out += r.step == 1 ? std::string(")") : fmt::format(", {})", r.step);
      break;
    }
    case Kind::iterator:
      out += fmt::format("<{} object>", v.iterator().type);
      break;
    case Kind::space:
      append_space(out, v.space(), depth + 1);
      break;
    case Kind::native:
      out += v.native().repr();
      break;
  }
}

}  // namespace

std::string repr(const Value& v) {
  std::string out;
  append_repr(out, v, 0);
  return out;
}

std::string to_text(const Value& v) {
  if (v.is(Kind::string)) return v.str();
  if (v.is(Kind::undefined)) return refuse_internal(v), "";
  return repr(v);
}

}  // namespace caravan::text::jinja
