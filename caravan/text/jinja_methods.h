// Methods of str that have a file of their own (jinja_codecs.cc), and what they use; the table of all is in
// jinja_methods.cc.
#pragma once

#include "caravan/text/jinja_interpreter.h"

namespace caravan::text::jinja {

Value encode_method(Interpreter& in, const Value& self, Arguments& a);     // to bytes
Value translate_method(Interpreter& in, const Value& self, Arguments& a);  // by a table of ordinals
Value maketrans_method(Interpreter& in, const Value& self, Arguments& a);  // makes such a table

// str_format of a Markup: what is put in is escaped.
std::string markup_format(Interpreter& in, std::string_view format, Arguments& arguments);

}  // namespace caravan::text::jinja
