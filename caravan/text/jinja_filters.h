// The built-in filters by file: text, sequences. Their list is in jinja_filters.cc.
#pragma once

#include <span>

#include "caravan/text/jinja_interpreter.h"

namespace caravan::text::jinja {

using FilterEntry = std::pair<std::string_view, Filter>;
std::span<const FilterEntry> text_filters();
std::span<const FilterEntry> number_filters();
std::span<const FilterEntry> sequence_filters();
std::span<const FilterEntry> selection_filters();
std::span<const FilterEntry> print_filters();
std::span<const FilterEntry> link_filters();

// s with `from` replaced by `to`, `limit` times at most; between all characters where `from` is empty. -1: everywhere.
std::string replace_text(Interpreter& in, const std::string& s, const std::string& from, const std::string& to,
                         Int limit);

// An argument that was given and is not None.
inline bool has(const Value& v) { return given(v) && !v.is(Kind::none); }
inline bool flag(const Value& v) { return given(v) && truth(v); }

// jinja2.filters.make_attrgetter: follows "a.b.0" from an item; nothing to follow where `attribute` is None.
class AttributePath {
 public:
  explicit AttributePath(Interpreter& in, const Value& attribute);
  Value operator()(Interpreter& in, Value item, const Value& otherwise = Value()) const;

 private:
  std::vector<Value> parts_;
};
Value ignore_case(Interpreter& in, const Value& v, bool case_sensitive);  // lower-cased where it is a str

}  // namespace caravan::text::jinja
