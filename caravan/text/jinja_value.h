// Values of a chat template: Python's None, bool, int, float, str, list, tuple, dict, range, iterators and the few
// objects that Jinja adds (namespace, loop, macro, cycler ...), with Python's truth, equality, order, str() and repr().
//
//   Value v = make_list(budget, {Value(1), make_string(budget, "a")});
//   std::string text = to_text(v);   // [1, 'a']
//
// Containers are immutable once made, as the immutable sandbox of Jinja has them; only a namespace can be assigned to.
// Every allocation is charged to a Budget. Integers have 128 bits: larger ones are refused, never wrapped.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "caravan/base/error.h"
#include "caravan/base/json.h"

namespace caravan::text::jinja {

using Int = __int128;

// What Python would raise. `security`, `hidden` (not even printed) and `limit` end as errors of their own; the others
// as evaluation errors.
enum class Raised { type, value, lookup, division, overflow, undefined, security, hidden, template_error, runtime };

struct PythonError {
  Raised kind;
  std::string message;
};

template <class... Args>
[[noreturn]] void raise(Raised kind, fmt::format_string<Args...> format, Args&&... args) {
  throw PythonError{kind, fmt::format(format, std::forward<Args>(args)...)};
}

// Fuel and memory of one render. Copying bytes costs fuel too, so that time is bounded with it.
class Budget {
 public:
  Budget(std::string where, int64_t fuel, size_t string_bytes, size_t live_bytes, int64_t range)
      : where(std::move(where)), string_bytes(string_bytes), range(range), fuel_(fuel), live_limit_(live_bytes) {}
  void spend(int64_t n) {
    if ((fuel_ -= n) < 0) [[unlikely]]
      fail_fuel();
  }
  void spend_bytes(size_t n) { spend(1 + static_cast<int64_t>(n >> 8)); }
  void check_string(size_t n) const {
    if (n > string_bytes) [[unlikely]]
      fail_string(n);
  }
  void check_range(Int n) const {
    if (n > range) [[unlikely]]
      fail_range();
  }
  void hold(size_t bytes) {
    if ((live_ += bytes) > live_limit_) [[unlikely]]
      fail_memory(bytes);
  }
  void release(size_t bytes) { live_ -= bytes; }
  [[noreturn]] void fail_fuel() const;
  [[noreturn]] void fail_depth(std::string_view of) const;

  // The budget of the render that runs on this thread: comparisons and printing, which recurse, draw on it.
  static thread_local Budget* current;
  static void tick(size_t bytes = 0) {
    if (current) current->spend_bytes(bytes);
  }

  const std::string where;
  const size_t string_bytes;  // longest string, also of the output
  const int64_t range;        // longest range or repeated sequence

 private:
  [[noreturn]] void fail_string(size_t n) const;
  [[noreturn]] void fail_range() const;
  [[noreturn]] void fail_memory(size_t bytes);
  int64_t fuel_;
  size_t live_ = 0;
  const size_t live_limit_;
};

enum class Kind : uint8_t {
  undefined,
  none,
  boolean,
  integer,
  real,
  string,
  list,
  tuple,
  dict,
  view,
  range,
  iterator,
  space,
  native
};

constexpr uint16_t kMaxValueDepth = 200;  // nested containers: bounds every recursion over values, destructors included

struct Object {
  virtual ~Object() = default;
  std::atomic<uint32_t> refs{0};
  uint16_t depth = 1;
};

struct Text;
struct Sequence;
struct Dict;
struct Range;
struct Iterator;
struct Space;
struct Native;
struct Missing;

class Value {
 public:
  Value() : kind_(Kind::undefined), integer_(0) { object_ = nullptr; }
  explicit Value(bool b) : kind_(Kind::boolean) { integer_ = b; }
  explicit Value(Int i) : kind_(Kind::integer) { integer_ = i; }
  explicit Value(int i) : Value(static_cast<Int>(i)) {}
  explicit Value(size_t i) : Value(static_cast<Int>(i)) {}
  explicit Value(double d) : kind_(Kind::real), integer_(0) { real_ = d; }
  Value(Kind kind, Object* object) : kind_(kind), integer_(0) {
    object_ = object;
    if (object_) object_->refs.fetch_add(1, std::memory_order_relaxed);
  }
  Value(const Value& o) : kind_(o.kind_), integer_(o.integer_) {
    if (counted()) object_->refs.fetch_add(1, std::memory_order_relaxed);
  }
  Value(Value&& o) noexcept : kind_(o.kind_), integer_(o.integer_) { o.kind_ = Kind::none; }
  Value& operator=(Value o) noexcept {
    std::swap(kind_, o.kind_);
    std::swap(integer_, o.integer_);
    return *this;
  }
  ~Value() {
    if (counted() && object_->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) delete object_;
  }
  static Value none() {
    Value v;
    v.kind_ = Kind::none;
    return v;
  }

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool boolean() const { return integer_ != 0; }
  Int integer() const { return integer_; }  // of a boolean too
  double real() const { return real_; }
  Object* object() const { return counted() ? object_ : nullptr; }
  const Text& text() const { return *static_cast<const Text*>(static_cast<const void*>(object_)); }
  const std::string& str() const;
  const std::vector<Value>& items() const;  // of a list, tuple or view
  const Dict& dict() const;
  const Range& range() const;
  Iterator& iterator() const;
  Space& space() const;
  Native& native() const;
  const Missing* missing() const;  // nullptr for an undefined value without a story

  bool is_sequence() const { return kind_ == Kind::list || kind_ == Kind::tuple || kind_ == Kind::view; }
  bool is_integer() const { return kind_ == Kind::integer || kind_ == Kind::boolean; }
  bool is_number() const { return is_integer() || kind_ == Kind::real; }
  double number() const { return kind_ == Kind::real ? real_ : static_cast<double>(integer_); }

 private:
  bool counted() const { return (kind_ >= Kind::string || kind_ == Kind::undefined) && object_ != nullptr; }
  Kind kind_;
  union {
    Int integer_;
    double real_;
    Object* object_;
  };
};

struct Charged : Object {
  ~Charged() override {
    if (budget) budget->release(bytes);
  }
  Budget* budget = nullptr;
  size_t bytes = 0;
};

struct Text : Charged {
  std::string value;
  bool ascii = true;
  bool markup = false;  // markupsafe.Markup
};

struct Sequence : Charged {
  std::vector<Value> items;
  const char* view_name = nullptr;  // "dict_keys" ...: a view, printed with its name
  bool group = false;               // what groupby makes: .grouper and .list
};

struct Dict : Charged {
  std::vector<std::pair<Value, Value>> items;
  const Value* find(const Value& key) const;  // key must be hashable
  const Value* find(std::string_view key) const;
  std::unordered_multimap<size_t, size_t> index;  // hash -> position, for more than a few items
};

struct Range : Object {
  int64_t start = 0, stop = 0, step = 1, size = 0;
  Value at(int64_t i) const { return Value(static_cast<Int>(start) + static_cast<Int>(step) * i); }
};

class Interpreter;

// Python's generators and iterators: values come one at a time, once.
struct Iterator : Object {
  explicit Iterator(std::string type) : type(std::move(type)) {}
  virtual bool next(Value& out) = 0;
  std::string type;
};

struct Space : Object {  // namespace()
  std::vector<std::pair<std::string, Value>> attributes;
  Value* find(std::string_view name);
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keywords;
  // The values for `names` in order; undefined-without-story (kind undefined, object null) where not given: see
  // given(). Throws what Python throws for too many, unknown or doubly given arguments, and for missing ones before
  // `required`.
  std::vector<Value> bind(std::string_view function, std::initializer_list<std::string_view> names,
                          size_t required = 0);
};

// A parameter that was passed: bind() marks the others with the `missing` object.
bool given(const Value& v);

// Callables and objects with attributes: macros, bound methods, globals, loop, cycler ...
struct Native : Object {
  virtual std::string type_name() const = 0;
  virtual bool callable() const { return true; }
  virtual Value call(Interpreter& in, Arguments& args);
  virtual bool attribute(Interpreter&, std::string_view, Value&) { return false; }
  virtual std::string repr() const { return "<" + type_name() + ">"; }
  virtual bool length(size_t&) { return false; }
  virtual bool item(size_t, Value&) { return false; }  // of a sequence, below its length
  virtual bool is_sequence() const { return false; }
  virtual bool equals(const Native& other) const { return this == &other; }
  virtual size_t hash() const { return std::hash<const void*>()(this); }
};

struct Missing : Charged {  // why a value is undefined
  std::string message;
  Raised raised = Raised::undefined;
};

Value make_string(Budget& budget, std::string text, bool markup = false);
Value make_constant(std::string text);  // not charged: literals of the template
Value make_list(Budget& budget, std::vector<Value> items);
Value make_tuple(Budget& budget, std::vector<Value> items);
Value make_view(Budget& budget, const char* name, std::vector<Value> items);
Value make_group(Budget& budget, Value key, Value list);
Value make_dict(Budget& budget, std::vector<std::pair<Value, Value>> items);  // later keys replace earlier ones
Value make_undefined(std::string message, Raised raised = Raised::undefined);
Value make_native(Native* native);
Value from_json(Budget& budget, const Json& json);

std::string_view type_name(const Value& v);  // Python's: "str", "NoneType", "dict_items" ...
std::string object_repr(const Value& v);     // as Jinja names an object in messages: "None", "dict object" ...
bool truth(const Value& v);
bool equal(const Value& a, const Value& b);
bool less(const Value& a, const Value& b, const char* op = "<");  // raises where Python cannot order them
bool hashable(const Value& v);
size_t hash(const Value& v);
bool identical(const Value& a, const Value& b);  // Python's `is`
size_t length(const Value& v);                   // raises where there is none
bool has_length(const Value& v);
bool iterable(const Value& v);
std::string to_text(const Value& v);  // str(v)
std::string repr(const Value& v);
std::string int_text(Int i);
std::string float_text(double d);  // repr(float)
[[noreturn]] void raise_undefined(const Value& v);
uint16_t depth_over(Budget& budget, const Value& v);  // bounds what walks a value recursively

inline const std::string& Value::str() const { return static_cast<const Text*>(object_)->value; }
inline const std::vector<Value>& Value::items() const { return static_cast<const Sequence*>(object_)->items; }
inline const Dict& Value::dict() const { return *static_cast<const Dict*>(object_); }
inline const Range& Value::range() const { return *static_cast<const Range*>(object_); }
inline Iterator& Value::iterator() const { return *static_cast<Iterator*>(object_); }
inline Space& Value::space() const { return *static_cast<Space*>(object_); }
inline Native& Value::native() const { return *static_cast<Native*>(object_); }
inline const Missing* Value::missing() const {
  return kind_ == Kind::undefined ? static_cast<const Missing*>(object_) : nullptr;
}

}  // namespace caravan::text::jinja
