// See jinja_parser.h. Source: jinja2/parser.py 3.1.6, whose method names are kept; expressions are in
// jinja_parser_expressions.cc, the checks of jinja2/compiler.py in jinja_checks.cc.
#include "caravan/text/jinja_parser.h"

#include <algorithm>

#include "caravan/text/jinja_parser_impl.h"

namespace caravan::text::jinja {

Parser::Parser(std::string_view source, std::string_view where, int max_depth)
    : where_(where), max_depth_(max_depth), tokens_(tokenize(source, where)) {
  syntax_.loop_id = name_id("loop");
  syntax_.caller_id = name_id("caller");
  syntax_.kwargs_id = name_id("kwargs");
  syntax_.varargs_id = name_id("varargs");
}

Syntax Parser::run() {
  syntax_.body = subparse({});
  return std::move(syntax_);
}

uint32_t Parser::name_id(const std::string& name) {
  const auto [it, added] = ids_.emplace(name, static_cast<uint32_t>(syntax_.names.size()));
  if (added) syntax_.names.push_back(name);
  return it->second;
}

void Parser::deeper() {
  if (++depth_ > max_depth_) {
    fail_file(FileFault::limit, where_, "line {}: nested deeper than {} levels", current().line, max_depth_);
  }
}

Token Parser::expect(Tok type) {
  if (current().type != type) {
    if (current().type == Tok::eof) fail(fmt::format("unexpected end of template, expected '{}'.", describe(type)));
    fail(fmt::format("expected token '{}', got '{}'", describe(type), describe(current())));
  }
  return next();
}

void Parser::expect_name(std::string_view name) {
  if (!is_name(name)) fail(fmt::format("expected token '{}', got '{}'", name, describe(current())));
  next();
}

void Parser::fail_unknown_tag(const std::string& name, int line) {
  std::string expected;
  for (const std::string& tag : end_tags_.empty() ? std::vector<std::string>{} : end_tags_.back()) {
    expected += (expected.empty() ? "'" : " or '") + tag + "'";
  }
  const std::string looking = expected.empty() ? "" : " Jinja was looking for the following tags: " + expected + ".";
  static constexpr std::string_view kKnown[] = {"elif",     "else",          "endif",        "endfor",  "endset",
                                                "endmacro", "endcall",       "endfilter",    "endwith", "endblock",
                                                "endraw",   "endautoescape", "endgeneration"};
  const std::string message = fmt::format("Encountered unknown tag '{}'.{}", name, looking);
  if (std::find(std::begin(kKnown), std::end(kKnown), name) != std::end(kKnown)) fail_syntax(where_, line, message);
  fail_file(FileFault::unsupported, where_, "line {}: {}", line, message);
}

Body Parser::subparse(const std::vector<std::string>& ends) {
  const Deeper guard(*this);
  if (!ends.empty()) end_tags_.push_back(ends);
  Body body;
  bool done = false;
  while (!done && current().type != Tok::eof) {
    const Token token = current();
    if (token.type == Tok::data) {
      auto text = statement(Stmt::text);
      text->text = next().text;
      body.push_back(std::move(text));
    } else if (token.type == Tok::variable_begin) {
      next();
      auto output = statement(Stmt::output);
      output->expressions.push_back(parse_tuple());
      expect(Tok::variable_end);
      body.push_back(std::move(output));
    } else {
      expect(Tok::block_begin);
      done = current().type == Tok::name && std::find(ends.begin(), ends.end(), current().text) != ends.end();
      if (done) break;
      body.push_back(parse_statement());
      expect(Tok::block_end);
    }
  }
  if (!ends.empty()) end_tags_.pop_back();
  return body;
}

Body Parser::parse_statements(const std::vector<std::string>& ends, bool drop_needle) {
  skip_if(Tok::colon);
  expect(Tok::block_end);
  Body body = subparse(ends);
  if (current().type == Tok::eof) {
    std::string expected;
    for (const std::string& tag : ends) expected += (expected.empty() ? "'" : " or '") + tag + "'";
    fail(fmt::format("Unexpected end of template. Jinja was looking for the following tags: {}.", expected));
  }
  if (drop_needle) next();
  return body;
}

StatementPtr Parser::statement(Stmt kind) const {
  auto s = std::make_unique<Statement>();
  s->kind = kind;
  s->line = current().line;
  s->escape = escape_;
  return s;
}

StatementPtr Parser::parse_statement() {
  if (current().type != Tok::name) fail("tag name expected");
  const Token tag = current();
  const std::string& name = tag.text;
  if (name == "for") return parse_for();
  if (name == "if") return parse_if();
  if (name == "set") return parse_set();
  if (name == "macro") return parse_macro();
  if (name == "call") return parse_call_block();
  if (name == "with") return parse_with();
  if (name == "block") return parse_block();
  if (name == "print") return parse_print();
  if (name == "filter") {
    auto s = statement(Stmt::filter_block);
    next();
    s->expressions.push_back(parse_filter(nullptr, true));
    s->body = parse_statements({"endfilter"}, true);
    return s;
  }
  if (name == "autoescape") return parse_autoescape();
  if (name == "generation") {
    auto s = statement(Stmt::generation);
    next();
    s->body = parse_statements({"endgeneration"}, true);
    return s;
  }
  if (name == "break" || name == "continue") {
    auto s = statement(name == "break" ? Stmt::break_loop : Stmt::continue_loop);
    next();
    return s;
  }
  if (name == "import" || name == "include" || name == "extends" || name == "from") {
    fail_file(FileFault::unsupported, where_,
              "line {}: '{}' is not allowed: a chat template cannot load other templates", tag.line, name);
  }
  fail_unknown_tag(name, tag.line);
}

StatementPtr Parser::parse_set() {
  auto s = statement(Stmt::assign);
  next();
  s->target = parse_assign_target(true);
  if (skip_if(Tok::assign)) {
    s->expressions.push_back(parse_tuple());
    return s;
  }
  s->kind = Stmt::assign_block;
  s->expressions.push_back(parse_filter(nullptr, false));
  s->body = parse_statements({"endset"}, true);
  return s;
}

StatementPtr Parser::parse_for() {
  auto s = statement(Stmt::loop);
  expect_name("for");
  s->target = parse_assign_target(false, "in");
  expect_name("in");
  s->expressions.push_back(parse_tuple({.condexpr = false, .end_name = "recursive"}));
  s->expressions.push_back(skip_name("if") ? parse_expression() : nullptr);
  s->recursive = skip_name("recursive");
  s->body = parse_statements({"endfor", "else"}, false);
  if (next().text == "else") s->otherwise = parse_statements({"endfor"}, true);
  return s;
}

StatementPtr Parser::parse_if() {
  auto s = statement(Stmt::condition);
  expect_name("if");
  for (;;) {
    s->expressions.push_back(parse_tuple({.condexpr = false}));
    s->branches.push_back(parse_statements({"elif", "else", "endif"}, false));
    const Token end = next();
    if (end.text == "elif") continue;
    if (end.text == "else") s->branches.push_back(parse_statements({"endif"}, true));
    return s;
  }
}

StatementPtr Parser::parse_with() {
  auto s = statement(Stmt::with);
  next();
  while (current().type != Tok::block_end) {
    if (!s->targets.empty()) expect(Tok::comma);
    s->targets.push_back(parse_assign_target(false));
    expect(Tok::assign);
    s->expressions.push_back(parse_expression());
  }
  s->body = parse_statements({"endwith"}, true);
  return s;
}

StatementPtr Parser::parse_block() {
  auto s = statement(Stmt::block);
  next();
  s->text = expect(Tok::name).text;
  s->scoped = skip_name("scoped");
  skip_name("required");
  const Escape outside = std::exchange(escape_, Escape{});  // a block is compiled as a template of its own
  s->body = parse_statements({"endblock"}, true);
  escape_ = outside;
  skip_name(s->text);
  return s;
}

StatementPtr Parser::parse_print() {
  auto s = statement(Stmt::output);
  next();
  while (current().type != Tok::block_end) {
    if (!s->expressions.empty()) expect(Tok::comma);
    s->expressions.push_back(parse_expression());
  }
  return s;
}

StatementPtr Parser::parse_autoescape() {
  auto s = statement(Stmt::autoescape);
  next();
  s->expressions.push_back(parse_expression());
  const Expression& e = *s->expressions[0];
  const Escape outside = escape_;
  if (e.kind == Expr::constant)
    escape_.on = truth(e.value);
  else
    escape_.dynamic = true;
  s->body = parse_statements({"endautoescape"}, true);
  escape_ = outside;
  return s;
}

void Parser::parse_signature(MacroBody& macro) {
  expect(Tok::lparen);
  while (current().type != Tok::rparen) {
    if (!macro.parameters.empty()) expect(Tok::comma);
    const Token name = expect(Tok::name);
    check_assignable(name.text, name.line);
    const uint32_t id = name_id(name.text);
    for (const auto& [other, spelling] : macro.parameters) {
      if (other == id)
        fail_syntax(where_, name.line, fmt::format("duplicate argument '{}' in function definition", name.text));
    }
    macro.parameters.emplace_back(id, name.text);
    if (skip_if(Tok::assign)) {
      macro.defaults.push_back(parse_expression());
    } else if (!macro.defaults.empty()) {
      fail("non-default argument follows default argument");
    }
  }
  expect(Tok::rparen);
}

void Parser::parse_macro_body(MacroBody& macro, const std::string& end) {
  macros_.push_back(&macro);
  macro.body = parse_statements({end}, true);
  macros_.pop_back();
  const auto declares = [&](uint32_t id) {
    return std::any_of(macro.parameters.begin(), macro.parameters.end(), [&](const auto& p) { return p.first == id; });
  };
  if (macro.uses_caller && declares(syntax_.caller_id)) {
    const size_t i = static_cast<size_t>(std::find_if(macro.parameters.begin(), macro.parameters.end(),
                                                      [&](const auto& p) { return p.first == syntax_.caller_id; }) -
                                         macro.parameters.begin());
    if (macro.parameters.size() - i > macro.defaults.size()) {
      fail(
          "When defining macros or call blocks the special \"caller\" argument must be omitted or be given a default.");
    }
    macro.uses_caller = false;
  }
  if (declares(syntax_.kwargs_id)) macro.uses_kwargs = false;
  if (declares(syntax_.varargs_id)) macro.uses_varargs = false;
}

StatementPtr Parser::parse_macro() {
  auto s = statement(Stmt::macro);
  next();
  const Token name = expect(Tok::name);
  check_assignable(name.text, name.line);
  s->id = name_id(name.text);
  s->macro = std::make_unique<MacroBody>();
  s->macro->name = name.text;
  parse_signature(*s->macro);
  parse_macro_body(*s->macro, "endmacro");
  return s;
}

StatementPtr Parser::parse_call_block() {
  auto s = statement(Stmt::call_block);
  const int line = next().line;
  s->macro = std::make_unique<MacroBody>();
  if (current().type == Tok::lparen) parse_signature(*s->macro);
  s->expressions.push_back(parse_expression());
  if (s->expressions[0]->kind != Expr::call) fail_syntax(where_, line, "expected call");
  parse_macro_body(*s->macro, "endcall");
  return s;
}

void Parser::check_assignable(const std::string& name, int line) const {
  static constexpr std::string_view kConstants[] = {"true", "false", "none", "True", "False", "None"};
  if (std::find(std::begin(kConstants), std::end(kConstants), name) != std::end(kConstants)) {
    fail_syntax(where_, line, "can't assign to 'const'");
  }
}

void Parser::check_target(const Expression& target) const {
  if (target.kind == Expr::name || target.kind == Expr::space_ref) return;
  if (target.kind == Expr::tuple) {
    for (const auto& item : target.items) check_target(*item);
    return;
  }
  fail_syntax(where_, target.line, "can't assign to this expression");
}

ExpressionPtr Parser::parse_assign_target(bool with_namespace, std::string_view end_name) {
  std::vector<MacroBody*> outside;
  std::swap(outside, macros_);  // a name that is assigned to is no use of `caller`
  ExpressionPtr target = parse_tuple({.simplified = true, .with_namespace = with_namespace, .end_name = end_name});
  std::swap(outside, macros_);
  check_target(*target);
  return target;
}

Syntax parse(std::string_view source, std::string_view where, int max_depth) {
  Syntax syntax = Parser(source, where, max_depth).run();
  check_syntax(syntax, where);
  return syntax;
}

}  // namespace caravan::text::jinja
