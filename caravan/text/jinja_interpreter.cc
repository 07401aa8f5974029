// Statements, scopes, loops and macros of the chat-template interpreter (see jinja_interpreter.h). Semantics: the code
// that jinja2/compiler.py 3.1.6 generates, jinja2/runtime.py's LoopContext and Macro.
#include "caravan/text/jinja_interpreter.h"

#include <algorithm>

#include "caravan/base/markup.h"

namespace caravan::text::jinja {

// A frame for as long as the object lives; longer where a macro closed over it.
class Interpreter::Scope {
 public:
  Scope(Interpreter& in, Frame* parent) : in_(in), parent_(parent), frame_(std::make_unique<Frame>(parent)) {}
  ~Scope() { keep(); }
  Frame* frame() { return frame_.get(); }
  Frame* fresh() {  // an empty frame for the next iteration
    if (frame_->captured) {
      keep();
      frame_ = std::make_unique<Frame>(parent_);
    }
    frame_->variables.clear();
    return frame_.get();
  }

 private:
  void keep() {
    if (frame_ && frame_->captured) in_.kept_frames_.push_back(std::move(frame_));
  }
  Interpreter& in_;
  Frame* parent_;
  std::unique_ptr<Frame> frame_;
};

class Interpreter::Depth {
 public:
  Depth(Interpreter& in, int& counter, int limit) : counter_(counter) {
    if (++counter_ > limit) {
      --counter_;
      in.budget_.fail_depth("calls are");
    }
  }
  ~Depth() { --counter_; }

 private:
  int& counter_;
};

// `loop`: jinja2.runtime.LoopContext.
struct Interpreter::LoopState : Native {
  LoopState(Interpreter& in, const Statement& loop, const Value& sequence, Frame* frame, int depth)
      : in(in), loop(loop), sequence(sequence), iterator(in.iterate(sequence)), frame(frame), depth0(depth) {}

  std::string type_name() const override { return "jinja2.runtime.LoopContext"; }
  std::string repr() const override {  // asking for the length draws the rest of a generator, as Jinja does
    return fmt::format("<LoopContext {}/{}>", index0 + 1, const_cast<LoopState*>(this)->length());
  }

  // The next item that passes the loop's `if`.
  bool fetch(Value& out) {
    if (!drained.empty()) {
      out = std::move(drained.front());
      drained.erase(drained.begin());
      return true;
    }
    while (!finished && iterator.iterator().next(out)) {
      in.budget_.spend(2);
      if (!loop.expressions[1]) return true;
      Scope scope(in, frame);
      in.assign(*loop.target, out, scope.frame());
      if (truth(in.evaluate(*loop.expressions[1], scope.frame()))) return true;
    }
    return false;
  }
  bool peek() {
    if (!has_after) {
      Value v;
      if (!fetch(v)) return false;
      after = std::move(v);
      has_after = true;
    }
    return true;
  }
  bool advance() {
    Value item;
    if (has_after) {
      item = std::move(after);
      has_after = false;
    } else if (!fetch(item)) {
      return false;
    }
    ++index0;
    before = std::move(current);
    current = std::move(item);
    return true;
  }
  bool length(size_t& n) override {
    if (!known_length) {
      if (!loop.expressions[1] && has_length(sequence)) {
        known_length = jinja::length(sequence);
      } else {
        std::vector<Value> rest;
        for (Value v; fetch(v);) rest.push_back(v);
        known_length = rest.size() + static_cast<size_t>(index0 + 1) + (has_after ? 1 : 0);
        drained = std::move(rest);
      }
    }
    n = *known_length;
    return true;
  }
  size_t length() {
    size_t n = 0;
    length(n);
    return n;
  }
  Value call(Interpreter&, Arguments& arguments) override {
    auto args = arguments.bind("loop", {"iterable"}, 1);
    if (!loop.recursive) raise(Raised::type, "The loop must have the 'recursive' marker to be called recursively.");
    if (finished) raise(Raised::runtime, "a loop was called after it had ended");
    return in.string(in.run_loop(loop, args[0], frame, depth0 + 1), in.escapes(loop.escape));
  }
  bool attribute(Interpreter&, std::string_view name, Value& out) override;
  void end() {
    finished = true;
    last_changed.clear();
    has_last_changed = false;
  }

  Interpreter& in;
  const Statement& loop;
  Value sequence, iterator;
  Frame* frame;
  int depth0;
  int64_t index0 = -1;
  Value before, current, after;
  bool has_after = false, finished = false, has_last_changed = false;
  std::optional<size_t> known_length;
  std::vector<Value> drained, last_changed;
};

namespace {

// loop.cycle and loop.changed.
struct LoopMethod : Native {
  LoopMethod(Value loop, std::function<Value(Arguments&)> body) : loop(std::move(loop)), body(std::move(body)) {}
  std::string type_name() const override { return "method"; }
  Value call(Interpreter&, Arguments& arguments) override { return body(arguments); }
  Value loop;
  std::function<Value(Arguments&)> body;
};

struct Macro : Native {
  Macro(const MacroBody& body, Frame* closure) : body(body), closure(closure) {}
  std::string type_name() const override { return "jinja2.runtime.Macro"; }
  std::string repr() const override {
    return body.name.empty() ? "<Macro anonymous>" : fmt::format("<Macro '{}'>", body.name);
  }
  Value call(Interpreter& in, Arguments& arguments) override { return in.run_macro(body, closure, arguments); }
  bool attribute(Interpreter& in, std::string_view name, Value& out) override {
    if (name == "name") return out = body.name.empty() ? Value::none() : in.string(body.name), true;
    if (name == "catch_kwargs") return out = Value(body.uses_kwargs), true;
    if (name == "catch_varargs") return out = Value(body.uses_varargs), true;
    if (name == "caller") return out = Value(body.uses_caller), true;
    if (name != "arguments") return false;
    std::vector<Value> names;
    for (const auto& [id, spelling] : body.parameters) names.push_back(in.string(spelling));
    return out = make_tuple(in.budget(), std::move(names)), true;
  }
  const MacroBody& body;
  Frame* closure;
};

}  // namespace

bool Interpreter::LoopState::attribute(Interpreter&, std::string_view name, Value& out) {
  const auto number = [&](int64_t n) { return out = Value(static_cast<Int>(n)), true; };
  if (name == "index") return number(index0 + 1);
  if (name == "index0") return number(index0);
  if (name == "first") return out = Value(index0 == 0), true;
  if (name == "last") return out = Value(!peek()), true;
  if (name == "length") return number(static_cast<int64_t>(length()));
  if (name == "revindex") return number(static_cast<int64_t>(length()) - index0);
  if (name == "revindex0") return number(static_cast<int64_t>(length()) - index0 - 1);
  if (name == "depth") return number(depth0 + 1);
  if (name == "depth0") return number(depth0);
  if (name == "previtem") return out = index0 == 0 ? make_undefined("there is no previous item") : before, true;
  if (name == "nextitem") return out = peek() ? after : make_undefined("there is no next item"), true;
  const Value self(Kind::native, this);
  if (name == "cycle") {
    out = make_native(new LoopMethod(self, [this](Arguments& a) {
      if (a.positional.empty()) raise(Raised::type, "no items for cycling given");
      return a.positional[static_cast<size_t>(index0) % a.positional.size()];
    }));
    return true;
  }
  if (name == "changed") {
    out = make_native(new LoopMethod(self, [this](Arguments& a) {
      if (has_last_changed &&
          std::equal(last_changed.begin(), last_changed.end(), a.positional.begin(), a.positional.end(), equal))
        return Value(false);
      if (!finished) {
        last_changed = a.positional;
        has_last_changed = true;
      }
      return Value(true);
    }));
    return true;
  }
  return false;
}

Interpreter::Interpreter(const Syntax& syntax, Budget& budget, int max_depth, std::optional<std::time_t> now)
    : syntax_(syntax), budget_(budget), max_depth_(max_depth), now_(now) {
  Budget::current = &budget;
}

Interpreter::~Interpreter() {
  // Namespaces may hold each other in circles: empty them all before any of them goes.
  std::vector<std::pair<std::string, Value>> attributes;
  for (Value& space : spaces_) {
    for (auto& attribute : space.space().attributes) attributes.push_back(std::move(attribute));
    space.space().attributes.clear();
  }
  attributes.clear();
  kept_frames_.clear();
  context_.clear();
  spaces_.clear();
  Budget::current = nullptr;
}

std::string Interpreter::run(const std::vector<std::pair<std::string, Value>>& variables) {
  context_.resize(syntax_.names.size());
  std::unordered_map<std::string_view, const Value*> by_name;
  for (const auto& [name, value] : variables) by_name[name] = &value;
  for (size_t id = 0; id < syntax_.names.size(); ++id) {
    const auto it = by_name.find(syntax_.names[id]);
    if (syntax_.names[id] == "self")
      context_[id] = make_template_reference(syntax_);
    else if (it != by_name.end())
      context_[id] = *it->second;
    else
      context_[id] = find_global(syntax_.names[id]);
  }
  std::string text;
  out_ = &text;
  kept_frames_.push_back(std::make_unique<Frame>(nullptr));
  root_ = kept_frames_.back().get();
  execute(syntax_.body, root_);
  return text;
}

void Interpreter::write(std::string_view text) {
  budget_.spend_bytes(text.size());
  budget_.check_string(out_->size() + text.size());
  out_->append(text);
}

void Interpreter::write_value(const Value& v, bool escape) {
  if (v.is(Kind::string))
    write(escape && !v.text().markup ? escape_markup(v.str()) : v.str());
  else
    write(escape ? escape_markup(to_text(v)) : to_text(v));
}

void Interpreter::store(Frame* frame, uint32_t id, Value value) {
  for (auto& [other, slot] : frame->variables) {
    if (other == id) {
      slot = std::move(value);
      return;
    }
  }
  frame->variables.emplace_back(id, std::move(value));
}

void Interpreter::assign(const Expression& target, Value value, Frame* frame) {
  if (target.kind == Expr::name) return store(frame, target.id, std::move(value));
  if (target.kind == Expr::space_ref) {
    Expression name;
    name.kind = Expr::name;
    name.id = target.id;
    const Value space = evaluate_name(name, frame);
    if (!space.is(Kind::space)) raise(Raised::runtime, "cannot assign attribute on non-namespace object");
    if (target.text.starts_with('_'))
      raise(Raised::security, "Chat templates cannot store underscore-prefixed attributes on a namespace, but got {}.",
            target.text);
    if (Value* old = space.space().find(target.text))
      *old = std::move(value);
    else
      space.space().attributes.emplace_back(target.text, std::move(value));
    return;
  }
  if (!iterable(value)) raise(Raised::type, "cannot unpack non-iterable {} object", type_name(value));
  const Value iterator = iterate(value);
  std::vector<Value> items;
  for (Value v; items.size() <= target.items.size() && iterator.iterator().next(v);) items.push_back(v);
  if (items.size() > target.items.size())
    raise(Raised::value, "too many values to unpack (expected {})", target.items.size());
  if (items.size() < target.items.size()) {
    raise(Raised::value, "not enough values to unpack (expected {}, got {})", target.items.size(), items.size());
  }
  for (size_t i = 0; i < items.size(); ++i) assign(*target.items[i], items[i], frame);
}

void Interpreter::close_over(Frame* frame) {
  budget_.hold(256);  // kept until the render ends
  for (; frame != nullptr && !frame->captured; frame = frame->parent) frame->captured = true;
}

Interpreter::Flow Interpreter::execute(const Body& body, Frame* frame) {
  for (const auto& s : body) {
    const Flow flow = execute(*s, frame);
    if (flow != Flow::normal) return flow;
  }
  return Flow::normal;
}

Interpreter::Flow Interpreter::capture(const Body& body, Frame* frame, std::string& text) {
  std::string* outer = std::exchange(out_, &text);
  ++buffers_;
  struct Restore {
    Interpreter& in;
    std::string* outer;
    ~Restore() { in.out_ = outer, --in.buffers_; }
  } restore{*this, outer};
  return execute(body, frame);
}

Interpreter::Flow Interpreter::execute_condition(const Statement& s, Frame* frame) {
  for (size_t i = 0; i < s.expressions.size(); ++i) {
    if (truth(evaluate(*s.expressions[i], frame))) return execute(s.branches[i], frame);
  }
  return s.branches.size() > s.expressions.size() ? execute(s.branches.back(), frame) : Flow::normal;
}

void Interpreter::execute_with(const Statement& s, Frame* frame) {
  Scope scope(*this, frame);
  for (size_t i = 0; i < s.targets.size(); ++i)
    assign(*s.targets[i], evaluate(*s.expressions[i], frame), scope.frame());
  execute(s.body, scope.frame());
}

void Interpreter::execute_block(const Statement& s, Frame* frame) {
  Scope scope(*this, s.scoped ? frame : root_);
  execute(s.body, scope.frame());
}

std::string Interpreter::run_block(const Statement& block) {
  const Depth guard(*this, calls_, max_depth_);
  Scope scope(*this, root_);
  std::string text;
  capture(block.body, scope.frame(), text);
  return text;
}

// As the generated code has it, break and continue leave the setting as it is.
Interpreter::Flow Interpreter::execute_autoescape(const Statement& s, Frame* frame) {
  const bool outside = std::exchange(autoescape_, truth(evaluate(*s.expressions[0], frame)));
  Scope scope(*this, frame);
  const Flow flow = execute(s.body, scope.frame());
  if (flow == Flow::normal) autoescape_ = outside;
  return flow;
}

void Interpreter::execute_generation(const Statement& s, Frame* frame) {
  Scope scope(*this, frame);
  std::string text;
  capture(s.body, scope.frame(), text);
  if (buffers_ == 0) generations_.emplace_back(out_->size(), out_->size() + text.size());
  write(text);
}

// {% set x %}...{% endset %} and {% filter f %}...{% endfilter %}.
Interpreter::Flow Interpreter::execute_captured(const Statement& s, Frame* frame) {
  Scope scope(*this, frame);
  std::string text;
  const Flow flow = capture(s.body, scope.frame(), text);
  if (flow != Flow::normal) return flow;
  Value value = string(std::move(text), escapes(s.escape) || (autoescape_ && !s.expressions[0]));
  if (s.expressions[0]) value = evaluate_filter(*s.expressions[0], scope.frame(), &value);
  if (s.kind == Stmt::assign_block)
    assign(*s.target, autoescape_ ? string(to_text(value), true) : std::move(value), frame);
  else
    write_value(value);
  return Flow::normal;
}

void Interpreter::execute_call_block(const Statement& s, Frame* frame) {
  close_over(frame);
  const Expression& e = *s.expressions[0];
  const Value callee = evaluate(*e.items[0], frame);
  Arguments arguments = evaluate_arguments(*e.arguments, frame);
  arguments.keywords.emplace_back("caller", make_native(new Macro(*s.macro, frame)));
  write_value(call(callee, arguments));
}

namespace {
bool is_literal(const Expression& e) {
  const bool container = e.kind == Expr::list || e.kind == Expr::tuple || e.kind == Expr::dict;
  return e.kind == Expr::constant ||
         (container && std::all_of(e.items.begin(), e.items.end(), [](const auto& item) { return is_literal(*item); }));
}
}  // namespace

Interpreter::Flow Interpreter::execute(const Statement& s, Frame* frame) {
  budget_.spend(1);
  line_ = s.line;
  const Depth depth(*this, evaluations_, 16 * max_depth_);
  switch (s.kind) {
    case Stmt::text:
      write(s.text);
      break;
    case Stmt::output:
      for (const auto& e : s.expressions)
        write_value(evaluate(*e, frame), is_literal(*e) ? s.escape.on : escapes(s.escape));
      break;
    case Stmt::loop:
      return execute_loop(s, evaluate(*s.expressions[0], frame), frame, 0);
    case Stmt::condition:
      return execute_condition(s, frame);
    case Stmt::assign:
      assign(*s.target, evaluate(*s.expressions[0], frame), frame);
      break;
    case Stmt::assign_block:
    case Stmt::filter_block:
      return execute_captured(s, frame);
    case Stmt::macro:
      close_over(frame);
      store(frame, s.id, make_native(new Macro(*s.macro, frame)));
      break;
    case Stmt::call_block:
      execute_call_block(s, frame);
      break;
    case Stmt::with:
      execute_with(s, frame);
      break;
    case Stmt::autoescape:
      return execute_autoescape(s, frame);
    case Stmt::generation:
      execute_generation(s, frame);
      break;
    case Stmt::block:
      execute_block(s, frame);
      break;
    case Stmt::break_loop:
      return Flow::broken;
    case Stmt::continue_loop:
      return Flow::continued;
  }
  return Flow::normal;
}

Interpreter::Flow Interpreter::execute_loop(const Statement& s, const Value& sequence, Frame* frame, int depth) {
  auto* state = new LoopState(*this, s, sequence, frame, depth);
  const Value loop = make_native(state);
  struct End {
    LoopState& state;
    ~End() { state.end(); }
  } end{*state};
  Scope scope(*this, frame);
  bool any = false;
  while (state->advance()) {
    Frame* inner = scope.fresh();
    inner->variables.emplace_back(syntax_.loop_id, loop);
    assign(*s.target, state->current, inner);
    const Flow flow = execute(s.body, inner);
    if (flow == Flow::broken) break;
    any |= flow == Flow::normal;  // as the generated code has it, break and continue leave the else branch alive
  }
  if (any) return Flow::normal;
  return execute(s.otherwise, scope.fresh());
}

std::string Interpreter::run_loop(const Statement& loop, const Value& sequence, Frame* frame, int depth) {
  const Depth guard(*this, calls_, max_depth_);
  std::string text;
  std::string* outer = std::exchange(out_, &text);
  ++buffers_;
  struct Restore {
    Interpreter& in;
    std::string* outer;
    ~Restore() { in.out_ = outer, --in.buffers_; }
  } restore{*this, outer};
  execute_loop(loop, sequence, frame, depth);
  return text;
}

Value Interpreter::run_macro(const MacroBody& macro, Frame* closure, Arguments& arguments) {
  const Depth guard(*this, calls_, max_depth_);
  Scope scope(*this, closure);
  Frame* frame = scope.frame();
  auto& keywords = arguments.keywords;
  const auto take = [&](std::string_view name, Value& out) {
    const auto it = std::find_if(keywords.begin(), keywords.end(), [&](const auto& k) { return k.first == name; });
    if (it == keywords.end()) return false;
    out = std::move(it->second);
    keywords.erase(it);
    return true;
  };
  const size_t n = macro.parameters.size(), given = std::min(n, arguments.positional.size());
  std::vector<bool> missing(n, false);
  for (size_t i = 0; i < n; ++i) {
    const auto& [id, name] = macro.parameters[i];
    Value v;
    if (i < given)
      v = arguments.positional[i];
    else if (!take(name, v)) {
      v = make_undefined(fmt::format("parameter '{}' was not provided", name));
      missing[i] = true;
    }
    frame->variables.emplace_back(id, std::move(v));
  }
  if (macro.uses_caller) {
    Value caller;
    frame->variables.emplace_back(syntax_.caller_id,
                                  take("caller", caller) ? caller : make_undefined("No caller defined"));
  }
  if (macro.uses_kwargs) {
    std::vector<std::pair<Value, Value>> items;
    for (auto& [name, value] : keywords) items.emplace_back(string(name), value);
    frame->variables.emplace_back(syntax_.kwargs_id, make_dict(budget_, std::move(items)));
  } else if (!keywords.empty()) {
    raise(Raised::type, "macro '{}' takes no keyword argument '{}'", macro.name, keywords[0].first);
  }
  if (macro.uses_varargs) {
    frame->variables.emplace_back(syntax_.varargs_id,
                                  make_tuple(budget_, {arguments.positional.begin() + static_cast<ptrdiff_t>(given),
                                                       arguments.positional.end()}));
  } else if (arguments.positional.size() > n) {
    raise(Raised::type, "macro '{}' takes not more than {} argument(s)", macro.name, n);
  }
  const size_t first_default = n - macro.defaults.size();
  for (size_t i = first_default; i < n; ++i) {
    if (missing[i]) store(frame, macro.parameters[i].first, evaluate(*macro.defaults[i - first_default], frame));
  }
  const bool markup = autoescape_;
  std::string text;
  capture(macro.body, frame, text);
  return string(std::move(text), markup);
}

Value Interpreter::call(const Value& callee, Arguments& arguments) {
  if (callee.is(Kind::undefined)) raise_undefined(callee);
  if (!callee.is(Kind::native)) raise(Raised::type, "'{}' object is not callable", type_name(callee));
  const Value keep = callee;
  return callee.native().call(*this, arguments);
}

Value Interpreter::call_filter(std::string_view name, Value input, Arguments arguments) {
  const Filter filter = find_filter(name);
  if (filter == nullptr) raise(Raised::runtime, "No filter named '{}'.", name);
  budget_.spend(1);
  return filter(*this, input, arguments);
}

bool Interpreter::call_test(std::string_view name, const Value& input, Arguments arguments) {
  const Test test = find_test(name);
  if (test == nullptr) raise(Raised::runtime, "No test named '{}'.", name);
  budget_.spend(1);
  return test(*this, input, arguments);
}

Value Interpreter::register_space(std::vector<std::pair<std::string, Value>> attributes) {
  budget_.hold(256);
  auto* space = new Space;
  const Value v(Kind::space, space);
  space->attributes = std::move(attributes);
  spaces_.push_back(v);
  return v;
}

}  // namespace caravan::text::jinja
