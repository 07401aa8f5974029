// The syntax tree of a chat template. Left-associative chains (a + b + c, a and b and c) are one node with many
// operands, so that depth grows with nesting only. Names are numbered once per template.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "caravan/text/jinja_value.h"

namespace caravan::text::jinja {

struct Expression;
struct Statement;
using ExpressionPtr = std::unique_ptr<Expression>;
using StatementPtr = std::unique_ptr<Statement>;
using Body = std::vector<StatementPtr>;

struct CallArguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> keywords;
  ExpressionPtr star, double_star;
};

// What {% autoescape %} says of a place: whether text is escaped there, or whether only the render knows (its
// expression is no literal). Then literals go by what the blocks around it say, as in the code that Jinja generates.
struct Escape {
  bool on = false, dynamic = false;
};

enum class Op : uint8_t { add, sub, mul, div, floordiv, mod, pow, eq, ne, lt, lteq, gt, gteq, in, notin };

enum class Expr : uint8_t {
  constant,   // value
  name,       // id (and text, its spelling)
  attribute,  // items[0] . text
  item,       // items[0] [items[1]]
  slice,      // items: start, stop, step; nullptr where left out
  tuple,
  list,        // items
  dict,        // items: key, value, key, value ...
  arithmetic,  // items[0] ops[0] items[1] ops[1] items[2] ..., from left to right
  compare,     // items[0] ops[0] items[1] and items[1] ops[1] items[2] ...
  concat,      // items joined as text
  negative,
  positive,
  logical_not,
  all_of,       // and
  any_of,       // or
  conditional,  // items: test, then, otherwise (or nullptr)
  filter,       // items[0] (nullptr: the block's text) | text(arguments)
  test,         // items[0] is text(arguments)
  call,         // items[0](arguments)
  space_ref,    // id . text as a target of set
};

struct Expression {
  Expr kind;
  int line = 0;
  uint32_t id = 0;
  std::string text;
  Value value;
  std::vector<ExpressionPtr> items;
  std::vector<Op> ops;
  Escape escape;  // of a concat
  std::unique_ptr<CallArguments> arguments;
};

struct MacroBody {
  std::string name;  // empty: the body of a call block
  std::vector<std::pair<uint32_t, std::string>> parameters;
  std::vector<ExpressionPtr> defaults;  // of the last parameters
  bool uses_caller = false, uses_kwargs = false, uses_varargs = false;
  Body body;
};

enum class Stmt : uint8_t {
  text,          // text
  output,        // expressions
  loop,          // for target in expressions[0] [if expressions[1]]: body, otherwise
  condition,     // expressions[i] guards branches[i]; one more branch is the else
  assign,        // target = expressions[0]
  assign_block,  // target = body through expressions[0] (a filter chain, or nullptr)
  macro,         // id names it
  call_block,    // expressions[0] called with macro as its caller
  filter_block,  // body through expressions[0]
  with,          // targets[i] = expressions[i]
  autoescape,    // body, with autoescape set to expressions[0]
  generation,    // body, and where it stands in the output
  block,         // text names it; body
  break_loop,
  continue_loop,
};

struct Statement {
  Stmt kind;
  int line = 0;
  uint32_t id = 0;
  bool recursive = false;
  bool scoped = false;
  Escape escape;
  std::string text;
  Value value;
  ExpressionPtr target;
  std::vector<ExpressionPtr> targets;
  std::vector<ExpressionPtr> expressions;
  Body body, otherwise;
  std::vector<Body> branches;
  std::unique_ptr<MacroBody> macro;
};

struct Syntax {
  Body body;
  std::vector<std::string> names;  // spelling by id
  uint32_t loop_id = 0, caller_id = 0, kwargs_id = 0, varargs_id = 0;
};

}  // namespace caravan::text::jinja
