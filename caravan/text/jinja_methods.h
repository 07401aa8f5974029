// Methods of str that have a file of their own (jinja_codecs.cc); the table of all is in jinja_methods.cc.
#pragma once

#include "caravan/text/jinja_interpreter.h"

namespace caravan::text::jinja {

Value encode_method(Interpreter& in, const Value& self, Arguments& a);     // to bytes
Value translate_method(Interpreter& in, const Value& self, Arguments& a);  // by a table of ordinals
Value maketrans_method(Interpreter& in, const Value& self, Arguments& a);  // makes such a table

}  // namespace caravan::text::jinja
