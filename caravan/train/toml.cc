#include "caravan/train/toml.h"

#define TOML_EXCEPTIONS 1
// toml++ asserts (and, with Clang, assumes) on some malformed texts just before it would report them.
#include <toml++/impl/preprocessor.h>
#undef TOML_ASSERT
#undef TOML_ASSERT_ASSUME
#define TOML_ASSERT(expr) static_cast<void>(0)
#define TOML_ASSERT_ASSUME(expr) static_cast<void>(0)
#include <toml++/toml.h>

#include <cmath>

#include "caravan/base/error.h"

namespace caravan::train {
namespace {

Json to_json(const toml::node& node, const std::string& where) {
  if (const auto* table = node.as_table()) {
    Json object = Json::object();
    for (const auto& [key, value] : *table) object[std::string(key.str())] = to_json(value, where);
    return object;
  }
  if (const auto* array = node.as_array()) {
    Json list = Json::array();
    for (const auto& value : *array) list.push_back(to_json(value, where));
    return list;
  }
  if (const auto* value = node.as_string()) return value->get();
  if (const auto* value = node.as_integer()) return value->get();
  if (const auto* value = node.as_floating_point()) return value->get();
  if (const auto* value = node.as_boolean()) return value->get();
  fail_file(FileFault::type, where, "line {}: no setting is a date or a time", node.source().begin.line);
}

}  // namespace

Json parse_toml(std::string_view text, const std::string& where) {
  check_json_text(text, where);  // UTF-8, no NUL
  try {
    return to_json(toml::parse(text), where);
  } catch (const toml::parse_error& error) {
    fail_file(FileFault::syntax, where, "line {}, column {}: {}", error.source().begin.line,
              error.source().begin.column, error.description());
  }
}

Json parse_toml_value(const std::string& text) {
  try {
    const toml::table table = toml::parse("value = " + text);
    const toml::node* value = table.get("value");
    if (table.size() == 1 && value != nullptr && !value->is_date() && !value->is_time() && !value->is_date_time())
      return to_json(*value, "the command line");
  } catch (const toml::parse_error&) {  // a word without quotes
  }
  return text;
}

std::string toml_value(const Json& value) {
  if (value.is_object()) {
    std::string text;
    for (const auto& [key, inner] : value.items()) {
      if (inner.is_null()) continue;  // TOML has no null: the key is left out
      text += fmt::format("{}{} = {}", text.empty() ? "" : ", ", Json(key).dump(), toml_value(inner));
    }
    return "{" + text + "}";
  }
  if (value.is_array()) {
    std::string text;
    for (const Json& inner : value) text += (text.empty() ? "" : ", ") + toml_value(inner);
    return "[" + text + "]";
  }
  if (value.is_null()) return "\"\"";
  if (value.is_number_float() && !std::isfinite(value.get<double>()))
    return std::isnan(value.get<double>()) ? "nan" : "inf";
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);  // JSON's strings are TOML's basic strings
}

}  // namespace caravan::train
