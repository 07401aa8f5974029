// Cuts a chat template into tokens exactly as Jinja 3.1's lexer does with trim_blocks and lstrip_blocks.
//
//   for (const Token& t : tokenize(source, "chat_template.jinja")) ...
//
// Comments and raw tags are gone, white-space control is applied, strings are unescaped. One trailing newline of the
// template is dropped. Throws corrupt_file (fault json) with the line.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "caravan/text/jinja_value.h"

namespace caravan::text::jinja {

enum class Tok : uint8_t {
  eof,
  data,
  block_begin,
  block_end,
  variable_begin,
  variable_end,
  name,
  string,
  integer,
  real,
  add,
  assign,
  colon,
  comma,
  div,
  dot,
  eq,
  floordiv,
  gt,
  gteq,
  lbrace,
  lbracket,
  lparen,
  lt,
  lteq,
  mod,
  mul,
  ne,
  pipe,
  pow,
  rbrace,
  rbracket,
  rparen,
  semicolon,
  sub,
  tilde,
};

struct Token {
  Tok type;
  int line;
  std::string text;  // of a name, a string, data
  Int integer = 0;
  double real = 0;
};

std::vector<Token> tokenize(std::string_view source, std::string_view where);
std::string describe(const Token& token);
std::string_view describe(Tok type);

[[noreturn]] void fail_syntax(std::string_view where, int line, const std::string& message);

}  // namespace caravan::text::jinja
