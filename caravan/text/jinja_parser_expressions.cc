// The expression rules of the chat-template parser. Source: jinja2/parser.py 3.1.6, whose method names are kept.
#include <algorithm>

#include "caravan/text/jinja_parser_impl.h"

namespace caravan::text::jinja {

ExpressionPtr Parser::make(Expr kind, int line) {
  auto e = std::make_unique<Expression>();
  e->kind = kind;
  e->line = line;
  return e;
}

ExpressionPtr Parser::constant(Value value, int line) const {
  auto e = make(Expr::constant, line);
  e->value = std::move(value);
  return e;
}

ExpressionPtr Parser::parse_condexpr() {
  const Deeper guard(*this);
  const int before = depth_;
  int line = current().line;
  ExpressionPtr left = parse_or();
  while (skip_name("if")) {
    auto e = make(Expr::conditional, line);
    e->items.push_back(parse_or());
    e->items.push_back(std::move(left));
    e->items.push_back(skip_name("else") ? parse_condexpr() : nullptr);
    left = std::move(e);
    line = current().line;
    deeper();  // a chain of ifs without else nests
  }
  depth_ = before;
  return left;
}

template <class Next>
ExpressionPtr Parser::word_chain(Expr kind, std::string_view word, Next next_operand) {
  ExpressionPtr left = next_operand();
  if (!is_name(word)) return left;
  auto e = make(kind, left->line);
  e->items.push_back(std::move(left));
  while (skip_name(word)) e->items.push_back(next_operand());
  return e;
}

ExpressionPtr Parser::parse_or() {
  return word_chain(Expr::any_of, "or", [&] { return parse_and(); });
}

ExpressionPtr Parser::parse_and() {
  return word_chain(Expr::all_of, "and", [&] { return parse_not(); });
}

ExpressionPtr Parser::parse_not() {
  if (!is_name("not")) return parse_compare();
  const Deeper guard(*this);
  auto e = make(Expr::logical_not, next().line);
  e->items.push_back(parse_not());
  return e;
}

ExpressionPtr Parser::parse_compare() {
  static constexpr std::pair<Tok, Op> kOperators[] = {{Tok::eq, Op::eq},     {Tok::ne, Op::ne}, {Tok::lt, Op::lt},
                                                      {Tok::lteq, Op::lteq}, {Tok::gt, Op::gt}, {Tok::gteq, Op::gteq}};
  ExpressionPtr left = parse_math1();
  auto e = make(Expr::compare, left->line);
  e->items.push_back(std::move(left));
  for (;;) {
    const auto* op = std::find_if(std::begin(kOperators), std::end(kOperators),
                                  [&](const auto& o) { return o.first == current().type; });
    if (op != std::end(kOperators)) {
      next();
      e->ops.push_back(op->second);
    } else if (skip_name("in")) {
      e->ops.push_back(Op::in);
    } else if (is_name("not") && look().type == Tok::name && look().text == "in") {
      next(), next();
      e->ops.push_back(Op::notin);
    } else {
      break;
    }
    e->items.push_back(parse_math1());
  }
  return e->ops.empty() ? std::move(e->items[0]) : std::move(e);
}

template <class Next>
ExpressionPtr Parser::left_chain(Expr kind, Next next_operand, std::initializer_list<std::pair<Tok, Op>> operators) {
  ExpressionPtr left = next_operand();
  const auto find = [&] {
    return std::find_if(operators.begin(), operators.end(), [&](const auto& o) { return o.first == current().type; });
  };
  if (find() == operators.end()) return left;
  auto e = make(kind, left->line);
  e->items.push_back(std::move(left));
  for (auto op = find(); op != operators.end(); op = find()) {
    next();
    e->ops.push_back(op->second);
    e->items.push_back(next_operand());
  }
  return e;
}

ExpressionPtr Parser::parse_math1() {
  return left_chain(Expr::arithmetic, [&] { return parse_concat(); }, {{Tok::add, Op::add}, {Tok::sub, Op::sub}});
}

ExpressionPtr Parser::parse_concat() {
  ExpressionPtr e = left_chain(Expr::concat, [&] { return parse_math2(); }, {{Tok::tilde, Op::add}});
  if (e->kind == Expr::concat) e->escape = escape_;
  return e;
}

ExpressionPtr Parser::parse_math2() {
  return left_chain(Expr::arithmetic, [&] { return parse_pow(); },
                    {{Tok::mul, Op::mul}, {Tok::div, Op::div}, {Tok::floordiv, Op::floordiv}, {Tok::mod, Op::mod}});
}

ExpressionPtr Parser::parse_pow() {
  return left_chain(Expr::arithmetic, [&] { return parse_unary(); }, {{Tok::pow, Op::pow}});
}

ExpressionPtr Parser::parse_unary(bool with_filter) {
  ExpressionPtr node;
  if (current().type == Tok::sub || current().type == Tok::add) {
    const Deeper guard(*this);
    node = make(current().type == Tok::sub ? Expr::negative : Expr::positive, current().line);
    next();
    node->items.push_back(parse_unary(false));
  } else {
    node = parse_primary();
  }
  node = parse_postfix(std::move(node));
  return with_filter ? parse_filter_expr(std::move(node)) : std::move(node);
}

ExpressionPtr Parser::parse_name(bool with_namespace) {
  const Token token = next();
  const std::string& name = token.text;
  if (name == "true" || name == "True") return constant(Value(true), token.line);
  if (name == "false" || name == "False") return constant(Value(false), token.line);
  if (name == "none" || name == "None") return constant(Value::none(), token.line);
  auto e = make(Expr::name, token.line);
  e->id = name_id(name);
  e->text = name;
  if (with_namespace && skip_if(Tok::dot)) {
    e->kind = Expr::space_ref;
    e->text = expect(Tok::name).text;
    return e;
  }
  for (MacroBody* macro : macros_) {
    macro->uses_caller |= e->id == syntax_.caller_id;
    macro->uses_kwargs |= e->id == syntax_.kwargs_id;
    macro->uses_varargs |= e->id == syntax_.varargs_id;
  }
  return e;
}

ExpressionPtr Parser::parse_primary(bool with_namespace) {
  const Token token = current();
  switch (token.type) {
    case Tok::name:
      return parse_name(with_namespace);
    case Tok::string: {
      std::string text;
      while (current().type == Tok::string) text += next().text;
      return constant(make_constant(std::move(text)), token.line);
    }
    case Tok::integer:
      next();
      return constant(Value(token.integer), token.line);
    case Tok::real:
      next();
      return constant(Value(token.real), token.line);
    case Tok::lparen: {
      next();
      ExpressionPtr node = parse_tuple({.parentheses = true, .end_name = {}});
      expect(Tok::rparen);
      return node;
    }
    case Tok::lbracket:
      return parse_list();
    case Tok::lbrace:
      return parse_dict();
    default:
      fail(fmt::format("unexpected '{}'", describe(token)));
  }
}

bool Parser::is_tuple_end(std::string_view end_name) const {
  const Tok type = current().type;
  return type == Tok::variable_end || type == Tok::block_end || type == Tok::rparen ||
         (!end_name.empty() && is_name(end_name));
}

ExpressionPtr Parser::parse_tuple(TupleOptions options) {
  const int line = current().line;
  std::vector<ExpressionPtr> items;
  bool is_tuple = false;
  for (;;) {
    if (!items.empty()) expect(Tok::comma);
    if (is_tuple_end(options.end_name)) break;
    items.push_back(options.simplified ? parse_primary(options.with_namespace) : parse_expression(options.condexpr));
    if (current().type != Tok::comma) break;
    is_tuple = true;
  }
  if (!is_tuple) {
    if (!items.empty()) return std::move(items[0]);
    if (!options.parentheses) fail(fmt::format("Expected an expression, got '{}'", describe(current())));
  }
  auto e = make(Expr::tuple, line);
  e->items = std::move(items);
  return e;
}

ExpressionPtr Parser::parse_list() {
  auto e = make(Expr::list, expect(Tok::lbracket).line);
  while (current().type != Tok::rbracket) {
    if (!e->items.empty()) expect(Tok::comma);
    if (current().type == Tok::rbracket) break;
    e->items.push_back(parse_expression());
  }
  expect(Tok::rbracket);
  return e;
}

ExpressionPtr Parser::parse_dict() {
  auto e = make(Expr::dict, expect(Tok::lbrace).line);
  while (current().type != Tok::rbrace) {
    if (!e->items.empty()) expect(Tok::comma);
    if (current().type == Tok::rbrace) break;
    e->items.push_back(parse_expression());
    expect(Tok::colon);
    e->items.push_back(parse_expression());
  }
  expect(Tok::rbrace);
  return e;
}

ExpressionPtr Parser::parse_postfix(ExpressionPtr node) {
  const int before = depth_;
  for (;; deeper()) {  // a.b.c nests
    if (current().type == Tok::dot || current().type == Tok::lbracket)
      node = parse_subscript(std::move(node));
    else if (current().type == Tok::lparen)
      node = parse_call(std::move(node));
    else
      break;
  }
  depth_ = before;
  return node;
}

ExpressionPtr Parser::parse_filter_expr(ExpressionPtr node) {
  const int before = depth_;
  for (;; deeper()) {
    if (current().type == Tok::pipe)
      node = parse_filter(std::move(node), false);
    else if (is_name("is"))
      node = parse_test(std::move(node));
    else if (current().type == Tok::lparen)
      node = parse_call(std::move(node));
    else
      break;
  }
  depth_ = before;
  return node;
}

ExpressionPtr Parser::parse_subscript(ExpressionPtr node) {
  const Token token = next();
  if (token.type == Tok::dot) {
    const Token attribute = next();
    if (attribute.type == Tok::name) {
      auto e = make(Expr::attribute, token.line);
      e->items.push_back(std::move(node));
      e->text = attribute.text;
      return e;
    }
    if (attribute.type != Tok::integer) fail_syntax(where_, attribute.line, "expected name or number");
    auto e = make(Expr::item, token.line);
    e->items.push_back(std::move(node));
    e->items.push_back(constant(Value(attribute.integer), attribute.line));
    return e;
  }
  auto e = make(Expr::item, token.line);
  e->items.push_back(std::move(node));
  std::vector<ExpressionPtr> arguments;
  while (current().type != Tok::rbracket) {
    if (!arguments.empty()) expect(Tok::comma);
    arguments.push_back(parse_subscribed());
  }
  expect(Tok::rbracket);
  if (arguments.size() == 1) {
    e->items.push_back(std::move(arguments[0]));
  } else {
    e->items.push_back(make(Expr::tuple, token.line));
    e->items[1]->items = std::move(arguments);
  }
  return e;
}

ExpressionPtr Parser::parse_subscribed() {
  const int line = current().line;
  ExpressionPtr start;
  if (current().type != Tok::colon) {
    start = parse_expression();
    if (current().type != Tok::colon) return start;
  }
  next();
  const auto ends = [&] { return current().type == Tok::rbracket || current().type == Tok::comma; };
  auto e = make(Expr::slice, line);
  e->items.push_back(std::move(start));
  e->items.push_back(current().type == Tok::colon || ends() ? nullptr : parse_expression());
  e->items.push_back(skip_if(Tok::colon) && !ends() ? parse_expression() : nullptr);
  return e;
}

std::unique_ptr<CallArguments> Parser::parse_call_args() {
  const int line = expect(Tok::lparen).line;
  auto arguments = std::make_unique<CallArguments>();
  const auto ensure = [&](bool ok) {
    if (!ok) fail_syntax(where_, line, "invalid syntax for function call expression");
  };
  bool comma = false;
  while (current().type != Tok::rparen) {
    if (comma) {
      expect(Tok::comma);
      if (current().type == Tok::rparen) break;
    }
    comma = true;
    if (skip_if(Tok::mul)) {
      ensure(!arguments->star && !arguments->double_star);
      arguments->star = parse_expression();
    } else if (skip_if(Tok::pow)) {
      ensure(!arguments->double_star);
      arguments->double_star = parse_expression();
    } else if (current().type == Tok::name && look().type == Tok::assign) {
      ensure(!arguments->double_star);
      const Token key = next();
      next();
      for (const auto& [other, value] : arguments->keywords) {
        if (other == key.text) fail_syntax(where_, key.line, "keyword argument repeated: " + key.text);
      }
      arguments->keywords.emplace_back(key.text, parse_expression());
    } else {
      ensure(!arguments->star && !arguments->double_star && arguments->keywords.empty());
      arguments->positional.push_back(parse_expression());
    }
  }
  expect(Tok::rparen);
  return arguments;
}

ExpressionPtr Parser::parse_call(ExpressionPtr node) {
  auto e = make(Expr::call, current().line);
  e->items.push_back(std::move(node));
  e->arguments = parse_call_args();
  return e;
}

std::string Parser::parse_dotted_name() {
  std::string name = expect(Tok::name).text;
  while (skip_if(Tok::dot)) name += "." + expect(Tok::name).text;
  return name;
}

ExpressionPtr Parser::parse_filter(ExpressionPtr node, bool start_inline) {
  const int before = depth_;
  while (current().type == Tok::pipe || start_inline) {
    if (!start_inline) next();
    start_inline = false;
    auto e = make(Expr::filter, current().line);
    e->text = parse_dotted_name();
    e->arguments = current().type == Tok::lparen ? parse_call_args() : std::make_unique<CallArguments>();
    e->items.push_back(std::move(node));
    node = std::move(e);
    deeper();
  }
  depth_ = before;
  return node;
}

ExpressionPtr Parser::parse_test(ExpressionPtr node) {
  auto e = make(Expr::test, next().line);
  const bool negated = skip_name("not");
  e->text = parse_dotted_name();
  e->items.push_back(std::move(node));
  switch (current().type) {
    case Tok::lparen:
      e->arguments = parse_call_args();
      break;
    case Tok::name:
    case Tok::string:
    case Tok::integer:
    case Tok::real:
    case Tok::lbracket:
    case Tok::lbrace:
      e->arguments = std::make_unique<CallArguments>();
      if (is_name("else") || is_name("or") || is_name("and")) break;
      if (is_name("is")) fail("You cannot chain multiple tests with is");
      e->arguments->positional.push_back(parse_postfix(parse_primary()));
      break;
    default:
      e->arguments = std::make_unique<CallArguments>();
  }
  if (!negated) return e;
  auto inverse = make(Expr::logical_not, e->line);
  inverse->items.push_back(std::move(e));
  return inverse;
}

}  // namespace caravan::text::jinja
