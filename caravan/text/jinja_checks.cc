// What Jinja's compiler refuses although the grammar allows it (jinja2/compiler.py 3.1.6): unknown filters and tests,
// break and continue outside of a loop, assignments to `loop`. Below an `if` an unknown filter is refused only when it
// runs.
#include <set>

#include "caravan/text/jinja_interpreter.h"
#include "caravan/text/jinja_parser_impl.h"

namespace caravan::text::jinja {
namespace {

class Checker {
 public:
  explicit Checker(std::string_view where, uint32_t loop_id) : where_(where), loop_id_(loop_id) {}

  // soft: below a condition, in the same scope.
  void body(const Body& statements, bool soft) {
    for (const auto& s : statements) statement(*s, soft);
  }

 private:
  void arguments(const CallArguments& a, bool soft) {
    for (const auto& e : a.positional) expression(e.get(), soft);
    for (const auto& [name, e] : a.keywords) expression(e.get(), soft);
    expression(a.star.get(), soft);
    expression(a.double_star.get(), soft);
  }

  void expression(const Expression* e, bool soft) {
    if (e == nullptr) return;
    if (!soft && ((e->kind == Expr::filter && find_filter(e->text) == nullptr) ||
                  (e->kind == Expr::test && find_test(e->text) == nullptr))) {
      fail_file(FileFault::unsupported, where_, "line {}: No {} named '{}'.", e->line,
                e->kind == Expr::filter ? "filter" : "test", e->text);
    }
    const bool inner = soft || e->kind == Expr::conditional;
    for (const auto& item : e->items) expression(item.get(), inner);
    if (e->arguments) arguments(*e->arguments, inner);
  }

  void expressions(const Statement& s, bool soft) {
    for (const auto& e : s.expressions) expression(e.get(), soft);
  }

  void target(const Expression* e) {
    if (e == nullptr) return;
    if (e->kind == Expr::name && e->id == loop_id_ && for_depth_ > 0) {
      fail_syntax(where_, e->line, "Can't assign to special loop variable in for-loop target");
    }
    for (const auto& item : e->items) target(item.get());
  }

  void macro(const MacroBody& m) {
    for (const auto& e : m.defaults) expression(e.get(), false);
    const int outer = std::exchange(breakable_, 0);
    body(m.body, false);
    breakable_ = outer;
  }

  void loop(const Statement& s, bool soft) {
    ++for_depth_;
    target(s.target.get());
    expression(s.expressions[0].get(), soft);
    expression(s.expressions[1].get(), false);
    ++breakable_;
    body(s.body, false);
    --breakable_;
    const int outer = s.recursive ? std::exchange(breakable_, 0) : breakable_;
    body(s.otherwise, false);
    breakable_ = outer;
    --for_depth_;
  }

  void function_body(const Statement& s) {
    const int outer = std::exchange(breakable_, 0);
    body(s.body, false);
    breakable_ = outer;
  }

  void statement(const Statement& s, bool soft) {
    switch (s.kind) {
      case Stmt::loop:
        return loop(s, soft);
      case Stmt::condition:
        expressions(s, true);
        for (const Body& branch : s.branches) body(branch, true);
        return;
      case Stmt::break_loop:
      case Stmt::continue_loop:
        if (breakable_ == 0)
          fail_syntax(where_, s.line,
                      s.kind == Stmt::break_loop ? "'break' outside loop" : "'continue' not properly in loop");
        return;
      case Stmt::macro:
        return macro(*s.macro);
      case Stmt::call_block:
        expressions(s, soft);
        return macro(*s.macro);
      case Stmt::assign_block:
      case Stmt::filter_block:
        target(s.target.get());
        expressions(s, false);
        return body(s.body, false);
      case Stmt::block:
        if (!blocks_.insert(s.text).second)
          fail_syntax(where_, s.line, fmt::format("block '{}' defined twice", s.text));
        return function_body(s);
      case Stmt::generation:
        return function_body(s);
      default:
        target(s.target.get());
        for (const auto& t : s.targets) target(t.get());
        expressions(s, soft);
        return body(s.body, false);
    }
  }

  const std::string_view where_;
  const uint32_t loop_id_;
  int breakable_ = 0, for_depth_ = 0;
  std::set<std::string_view> blocks_;
};

}  // namespace

void check_syntax(const Syntax& syntax, std::string_view where) {
  Checker(where, syntax.loop_id).body(syntax.body, false);
}

}  // namespace caravan::text::jinja
