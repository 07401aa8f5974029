// The recursive-descent parser behind jinja_parser.h, shared by its two source files. One method a grammar rule, named
// as in jinja2/parser.py.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/text/jinja_ast.h"
#include "caravan/text/jinja_lexer.h"

namespace caravan::text::jinja {

// What Jinja's compiler refuses: unknown filters and tests outside of conditions, break outside of a loop ...
void check_syntax(const Syntax& syntax, std::string_view where);

class Parser {
 public:
  Parser(std::string_view source, std::string_view where, int max_depth);
  Syntax run();

 private:
  struct TupleOptions {
    bool simplified = false;  // only names and literals: a target
    bool condexpr = true;
    bool parentheses = false;     // an empty tuple is allowed
    bool with_namespace = false;  // ns.attribute is a target
    std::string_view end_name;    // a name that ends the tuple
  };
  struct Deeper {
    explicit Deeper(Parser& p) : parser(p) { p.deeper(); }
    ~Deeper() { --parser.depth_; }
    Parser& parser;
  };

  // Tokens.
  const Token& current() const { return tokens_[at_]; }
  const Token& look() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token next() { return at_ + 1 < tokens_.size() ? tokens_[at_++] : tokens_[at_]; }
  bool is_name(std::string_view name) const { return current().type == Tok::name && current().text == name; }
  bool skip_if(Tok type) { return current().type == type ? next(), true : false; }
  bool skip_name(std::string_view name) { return is_name(name) ? next(), true : false; }
  Token expect(Tok type);
  void expect_name(std::string_view name);
  [[noreturn]] void fail(const std::string& message) const { fail_syntax(where_, current().line, message); }
  [[noreturn]] void fail_unknown_tag(const std::string& name, int line);
  void deeper();
  uint32_t name_id(const std::string& name);

  // Statements.
  Body subparse(const std::vector<std::string>& ends);
  Body parse_statements(const std::vector<std::string>& ends, bool drop_needle);
  StatementPtr statement(Stmt kind) const;
  StatementPtr parse_statement();
  StatementPtr parse_set();
  StatementPtr parse_for();
  StatementPtr parse_if();
  StatementPtr parse_with();
  StatementPtr parse_block();
  StatementPtr parse_print();
  StatementPtr parse_autoescape();
  StatementPtr parse_macro();
  StatementPtr parse_call_block();
  void parse_signature(MacroBody& macro);
  void parse_macro_body(MacroBody& macro, const std::string& end);
  ExpressionPtr parse_assign_target(bool with_namespace, std::string_view end_name = {});
  void check_assignable(const std::string& name, int line) const;
  void check_target(const Expression& target) const;

  // Expressions.
  static ExpressionPtr make(Expr kind, int line);
  ExpressionPtr constant(Value value, int line) const;
  ExpressionPtr parse_expression(bool condexpr = true) { return condexpr ? parse_condexpr() : parse_or(); }
  ExpressionPtr parse_condexpr();
  ExpressionPtr parse_or();
  ExpressionPtr parse_and();
  ExpressionPtr parse_not();
  ExpressionPtr parse_compare();
  ExpressionPtr parse_math1();
  ExpressionPtr parse_concat();
  ExpressionPtr parse_math2();
  ExpressionPtr parse_pow();
  ExpressionPtr parse_unary(bool with_filter = true);
  ExpressionPtr parse_primary(bool with_namespace = false);
  ExpressionPtr parse_name(bool with_namespace);
  ExpressionPtr parse_tuple(TupleOptions options);
  ExpressionPtr parse_tuple() { return parse_tuple(TupleOptions{}); }
  ExpressionPtr parse_list();
  ExpressionPtr parse_dict();
  ExpressionPtr parse_postfix(ExpressionPtr node);
  ExpressionPtr parse_filter_expr(ExpressionPtr node);
  ExpressionPtr parse_subscript(ExpressionPtr node);
  ExpressionPtr parse_subscribed();
  ExpressionPtr parse_call(ExpressionPtr node);
  ExpressionPtr parse_filter(ExpressionPtr node, bool start_inline);
  ExpressionPtr parse_test(ExpressionPtr node);
  std::unique_ptr<CallArguments> parse_call_args();
  std::string parse_dotted_name();
  bool is_tuple_end(std::string_view end_name) const;
  template <class Next>
  ExpressionPtr word_chain(Expr kind, std::string_view word, Next next_operand);
  template <class Next>
  ExpressionPtr left_chain(Expr kind, Next next_operand, std::initializer_list<std::pair<Tok, Op>> operators);

  const std::string_view where_;
  const int max_depth_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0;
  std::map<std::string, uint32_t> ids_;
  std::vector<std::vector<std::string>> end_tags_;
  std::vector<MacroBody*> macros_;  // those whose body is being parsed
  Escape escape_;                   // here
  Syntax syntax_;
};

}  // namespace caravan::text::jinja
