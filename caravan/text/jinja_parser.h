// Parses a chat template into a syntax tree, with the grammar and the compile-time checks of Jinja 3.1.
//
//   Syntax syntax = parse(source, "chat_template.jinja", 128);
//
// Throws corrupt_file (fault json) with the line for a syntax error, unsupported for import, include, extends, unknown
// tags, and unknown filters or tests outside of a condition; fault limit where nesting exceeds max_depth.
#pragma once

#include <string_view>

#include "caravan/text/jinja_ast.h"

namespace caravan::text::jinja {

Syntax parse(std::string_view source, std::string_view where, int max_depth);

}  // namespace caravan::text::jinja
