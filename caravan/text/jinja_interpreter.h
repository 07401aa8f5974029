// Evaluates the syntax tree of a chat template.
//
//   Interpreter in(syntax, budget, max_depth, now);
//   std::string text = in.run(variables);
//
// Scopes are frames looked up by name number from the inside out; a frame that a macro closes over lives until the end
// of the render. Errors are PythonError; line() then tells where.
#pragma once

#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/text/jinja_ast.h"

namespace caravan::text::jinja {

// A scope: what a loop iteration, macro call or block assigns.
struct Frame {
  explicit Frame(Frame* parent) : parent(parent) {}
  Frame* parent;
  std::vector<std::pair<uint32_t, Value>> variables;
  bool captured = false;  // a macro was defined below it
};

using IteratorPtr = std::unique_ptr<Iterator, void (*)(Iterator*)>;

class Interpreter {
 public:
  Interpreter(const Syntax& syntax, Budget& budget, int max_depth, std::optional<std::time_t> now);
  ~Interpreter();

  std::string run(const std::vector<std::pair<std::string, Value>>& variables);
  int line() const { return line_; }
  Budget& budget() { return budget_; }
  std::optional<std::time_t> now() const { return now_; }
  // Byte ranges of the output that {% generation %} blocks wrote.
  const std::vector<std::pair<size_t, size_t>>& generations() const { return generations_; }

  // The operations that filters, methods and macros share with expressions.
  Value call(const Value& callee, Arguments& arguments);
  Value call_filter(std::string_view name, Value input, Arguments arguments);
  bool call_test(std::string_view name, const Value& input, Arguments arguments);
  Value get_attribute(const Value& object, const std::string& name);             // object.name: attribute, then item
  Value get_item(const Value& object, const Value& key);                         // object[key]: item, then attribute
  bool own_attribute(const Value& object, const std::string& name, Value& out);  // what Python's getattr finds
  Value binary(Op op, const Value& a, const Value& b);
  bool contains(const Value& container, const Value& item);
  bool compare(Op op, const Value& a, const Value& b);
  Value iterate(const Value& v);  // a Kind::iterator value; raises where v is not iterable
  std::vector<Value> list_of(const Value& v);
  Value string(std::string text, bool markup = false) { return make_string(budget_, std::move(text), markup); }
  bool autoescape() const { return autoescape_; }
  bool escapes(const Escape& e) const { return e.dynamic ? autoescape_ : e.on; }
  Value register_space(std::vector<std::pair<std::string, Value>> attributes);

  // For macros and loops.
  Value run_macro(const MacroBody& macro, Frame* closure, Arguments& arguments);
  std::string run_loop(const Statement& loop, const Value& sequence, Frame* frame, int depth);
  std::string run_block(const Statement& block);  // self.name()

 private:
  enum class Flow { normal, broken, continued };
  class Scope;
  class Depth;
  struct LoopState;

  Flow execute(const Body& body, Frame* frame);
  Flow execute(const Statement& s, Frame* frame);
  Flow execute_loop(const Statement& s, const Value& sequence, Frame* frame, int depth);
  Flow execute_condition(const Statement& s, Frame* frame);
  Flow execute_captured(const Statement& s, Frame* frame);
  void execute_call_block(const Statement& s, Frame* frame);
  void execute_with(const Statement& s, Frame* frame);
  void execute_block(const Statement& s, Frame* frame);
  Flow execute_autoescape(const Statement& s, Frame* frame);
  void execute_generation(const Statement& s, Frame* frame);
  Flow capture(const Body& body, Frame* frame, std::string& text);  // runs a body into its own buffer
  void write(std::string_view text);
  void write_value(const Value& v, bool escape = false);
  void assign(const Expression& target, Value value, Frame* frame);
  static void store(Frame* frame, uint32_t id, Value value);
  void close_over(Frame* frame);

  Value evaluate(const Expression& e, Frame* frame);
  Value evaluate_name(const Expression& e, Frame* frame);
  Value evaluate_boolean(const Expression& e, Frame* frame);
  Value evaluate_test(const Expression& e, Frame* frame);
  Value evaluate_call(const Expression& e, Frame* frame);
  Value evaluate_item(const Expression& e, Frame* frame);
  Value evaluate_slice(const Value& object, const Expression& slice, Frame* frame);
  Value evaluate_dict(const Expression& e, Frame* frame);
  Value evaluate_arithmetic(const Expression& e, Frame* frame);
  Value evaluate_compare(const Expression& e, Frame* frame);
  Value evaluate_concat(const Expression& e, Frame* frame);
  Value evaluate_conditional(const Expression& e, Frame* frame);
  Value evaluate_filter(const Expression& e, Frame* frame, const Value* block_text);
  std::vector<Value> evaluate_all(const std::vector<ExpressionPtr>& items, Frame* frame);
  Arguments evaluate_arguments(const CallArguments& a, Frame* frame);
  Value negate(const Value& v, bool negative);

  const Syntax& syntax_;
  Budget& budget_;
  const int max_depth_;
  const std::optional<std::time_t> now_;
  std::vector<std::optional<Value>> context_;  // variables and globals by name number
  std::vector<std::unique_ptr<Frame>> kept_frames_;
  std::vector<Value> spaces_;  // every namespace, so that cycles through them can be undone
  Frame* root_ = nullptr;
  std::string* out_ = nullptr;
  bool autoescape_ = false;
  int buffers_ = 0;  // nesting of captures: 0 where out_ is the real output
  std::vector<std::pair<size_t, size_t>> generations_;
  int line_ = 0, evaluations_ = 0, calls_ = 0;
};

// A built-in filter or test, or nullptr.
using Filter = Value (*)(Interpreter& in, const Value& input, Arguments& arguments);
using Test = bool (*)(Interpreter& in, const Value& input, Arguments& arguments);
Filter find_filter(std::string_view name);
Test find_test(std::string_view name);

// A method of str, dict, list ... bound to its object, or none.
bool find_method(Interpreter& in, const Value& object, const std::string& name, Value& out);

// range, dict, namespace, cycler, joiner, raise_exception, strftime_now, lipsum; none for other names.
std::optional<Value> find_global(std::string_view name);

Value make_template_reference(const Syntax& syntax);  // self

// A function value from a plain function.
using Function = Value (*)(Interpreter& in, Arguments& arguments);
Value make_function(std::string name, Function function);

// An iterator from a function that gives the next value, or false at the end.
Value make_iterator(Budget& budget, std::string type, std::vector<Value> keeps, std::function<bool(Value&)> next);

Value slice_value(Interpreter& in, const Value& object, const Value& start, const Value& stop, const Value& step);
std::string python_format(Interpreter& in, std::string_view format, const Value& arguments,
                          bool markup);  // format % arguments
std::string str_format(Interpreter& in, std::string_view format,
                       Arguments& arguments);  // format.format(*args, **kwargs)
std::string to_json(Interpreter& in, const Value& value, bool ensure_ascii, const Value& indent,
                    const Value& separators, bool sort_keys);
Int to_index(const Value& v);  // an int where Python needs one
std::optional<Int> parse_int(std::string_view text, int base);
std::optional<double> parse_float(std::string_view text);

}  // namespace caravan::text::jinja
