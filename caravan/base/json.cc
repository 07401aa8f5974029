// JSON documents on nlohmann's event parser, which is iterative: depth is a number that is checked, not a stack.
#include "caravan/base/json.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "caravan/base/asked_keys.h"
#include "caravan/base/error.h"
#include "caravan/base/utf8.h"

namespace caravan {
namespace {

[[noreturn]] void fail_type(std::string_view where, std::string_view key, std::string_view wanted, const Json& value) {
  fail_file(FileFault::type, where, "\"{}\" must be {}, got {}", key, wanted, dump_json(value, -1).substr(0, 80));
}

// Builds the document from the parser's events. nlohmann's own builder looks a key up by a linear search before it
// inserts, which is quadratic for a vocabulary; this one appends, and looks for duplicates once an object is complete.
class Builder {
 public:
  Builder(std::string_view where, JsonLimits limits) : where_(where), limits_(limits) {}
  Json take() { return std::move(root_); }

  bool null() { return add(Json()); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(Json::number_integer_t value) { return add(value); }
  bool number_unsigned(Json::number_unsigned_t value) { return add(value); }
  bool number_float(Json::number_float_t value, const std::string&) { return add(value); }
  bool string(std::string& value) { return add(std::move(value)); }
  bool binary(Json::binary_t&) { return false; }
  bool start_object(size_t) { return open(Json::object()); }
  bool start_array(size_t) { return open(Json::array()); }
  bool key(std::string& name) {
    auto& members = stack_.back()->get_ref<Json::object_t&>();
    members.emplace_back(std::move(name), Json());
    return true;
  }
  bool end_object() {
    if (limits_.refuse_duplicates) refuse_duplicates(stack_.back()->get_ref<const Json::object_t&>());
    stack_.pop_back();
    return true;
  }
  bool end_array() {
    stack_.pop_back();
    return true;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception& error) { fail_json(where_, error); }

 private:
  Json* place(Json&& value) {
    if (stack_.empty()) return &(root_ = std::move(value));
    Json& parent = *stack_.back();
    if (parent.is_array()) return &parent.get_ref<Json::array_t&>().emplace_back(std::move(value));
    return &(parent.get_ref<Json::object_t&>().back().second = std::move(value));
  }
  bool add(Json&& value) {
    place(std::move(value));
    return true;
  }
  bool open(Json&& container) {
    check_file(static_cast<int>(stack_.size()) < limits_.depth, FileFault::limit, where_,
               "JSON is nested deeper than {} levels", limits_.depth);
    stack_.push_back(place(std::move(container)));  // stays valid: the parent grows only when this one is complete
    return true;
  }
  void refuse_duplicates(const Json::object_t& members) const {
    std::vector<std::string_view> names;
    names.reserve(members.size());
    for (const auto& member : members) names.push_back(member.first);
    std::sort(names.begin(), names.end());
    const auto twice = std::adjacent_find(names.begin(), names.end());
    if (twice != names.end()) fail_file(FileFault::duplicate, where_, "the key \"{}\" appears twice", *twice);
  }

  std::string_view where_;
  JsonLimits limits_;
  Json root_;
  std::vector<Json*> stack_;
};

}  // namespace

void fail_json(std::string_view where, const nlohmann::detail::exception& error) {
  std::string_view what = error.what();  // "[json.exception.parse_error.101] parse error at line 1, column 5: ..."
  if (const size_t end = what.find("] "); end != std::string_view::npos) what.remove_prefix(end + 2);
  constexpr int kNumberOverflow = 406;
  fail_file(error.id == kNumberOverflow ? FileFault::range : FileFault::json, where, "not valid JSON: {}", what);
}

void check_json_text(std::string_view text, std::string_view where) {
  const size_t bad = find_invalid_utf8(text);
  check_file(bad == std::string_view::npos, FileFault::utf8, where, "invalid UTF-8 at byte {}", bad);
  // The parser takes a NUL for the end of the text, and would not see what follows it.
  const size_t nul = text.find('\0');
  check_file(nul == std::string_view::npos, FileFault::json, where, "not valid JSON: a NUL at byte {}", nul);
}

Json parse_json(std::string_view text, std::string_view where, JsonLimits limits) {
  check_json_text(text, where);
  Builder builder(where, limits);
  Json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
}

std::string dump_json(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

const Json* find_member(const Json& object, std::string_view key) {
  AskedKeys::note(key);
  if (!object.is_object()) return nullptr;
  const auto it = object.find(std::string(key));
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

int64_t get_int(const Json& object, std::string_view key, std::string_view where, IntRange range,
                std::optional<int64_t> otherwise) {
  const Json* value = find_member(object, key);
  if (value == nullptr) {
    check_file(otherwise.has_value(), FileFault::range, where, "\"{}\" is missing", key);
    return *otherwise;
  }
  int64_t number = 0;
  if (value->is_number_unsigned()) {
    const auto u = value->get<uint64_t>();
    check_file(u <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()), FileFault::range, where,
               "\"{}\" is too large: {}", key, u);
    number = static_cast<int64_t>(u);
  } else if (value->is_number_integer()) {
    number = value->get<int64_t>();
  } else {
    fail_type(where, key, "an integer", *value);
  }
  check_file(number >= range.min && number <= range.max, FileFault::range, where, "\"{}\" must lie in [{}, {}], got {}",
             key, range.min, range.max, number);
  return number;
}

double get_number(const Json& object, std::string_view key, std::string_view where, std::optional<double> otherwise) {
  const Json* value = find_member(object, key);
  if (value == nullptr) {
    check_file(otherwise.has_value(), FileFault::range, where, "\"{}\" is missing", key);
    return *otherwise;
  }
  if (!value->is_number()) fail_type(where, key, "a number", *value);
  const double number = value->get<double>();
  constexpr double kLargest = std::numeric_limits<float>::max();  // models compute in float at most
  check_file(std::abs(number) <= kLargest, FileFault::range, where, "\"{}\" must be finite and at most {:g}, got {}",
             key, kLargest, number);
  return number;
}

bool get_bool(const Json& object, std::string_view key, std::string_view where, std::optional<bool> otherwise) {
  const Json* value = find_member(object, key);
  if (value == nullptr) {
    check_file(otherwise.has_value(), FileFault::range, where, "\"{}\" is missing", key);
    return *otherwise;
  }
  if (!value->is_boolean()) fail_type(where, key, "true or false", *value);
  return value->get<bool>();
}

std::string get_string(const Json& object, std::string_view key, std::string_view where,
                       std::optional<std::string> otherwise) {
  const Json* value = find_member(object, key);
  if (value == nullptr) {
    check_file(otherwise.has_value(), FileFault::range, where, "\"{}\" is missing", key);
    return *otherwise;
  }
  if (!value->is_string()) fail_type(where, key, "a string", *value);
  return value->get<std::string>();
}

}  // namespace caravan
