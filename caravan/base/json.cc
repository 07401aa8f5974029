#include "caravan/base/json.h"

#include <cmath>
#include <set>
#include <vector>

#include "caravan/base/error.h"

namespace caravan {
namespace {

[[noreturn]] void fail_type(std::string_view where, std::string_view key, std::string_view wanted, const Json& value) {
  fail_file(FileFault::type, where, "\"{}\" must be {}, got {}", key, wanted, dump_json(value, -1).substr(0, 80));
}

}  // namespace

Json parse_json(std::string_view text, std::string_view where, JsonLimits limits) {
  // The callback sees every nesting and key as it is read: depth and duplicates are refused before memory grows.
  std::vector<std::set<std::string>> keys;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    using Event = Json::parse_event_t;
    if (event == Event::object_start || event == Event::array_start) {
      check_file(depth < limits.depth, FileFault::limit, where, "JSON is nested deeper than {} levels", limits.depth);
    }
    if (!limits.refuse_duplicates) return true;
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      check_file(keys.back().insert(key).second, FileFault::duplicate, where, "the key \"{}\" appears twice", key);
    }
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), watch);
  } catch (const nlohmann::json::exception& e) {
    const std::string_view what = e.what();
    const FileFault fault = what.find("UTF-8") != std::string_view::npos ? FileFault::utf8
                            : what.find("out of range") != std::string_view::npos || e.id == 406 ? FileFault::range
                                                                                                 : FileFault::json;
    fail_file(fault, where, "not valid JSON: {}", what.substr(what.find("] ") == std::string_view::npos ? 0 : what.find("] ") + 2));
  }
}

std::string dump_json(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

const Json* find_member(const Json& object, std::string_view key) {
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
  check_file(number >= range.min && number <= range.max, FileFault::range, where, "\"{}\" must lie in [{}, {}], got {}", key,
             range.min, range.max, number);
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
  check_file(std::isfinite(number), FileFault::range, where, "\"{}\" must be finite", key);
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

std::string get_string(const Json& object, std::string_view key, std::string_view where, std::optional<std::string> otherwise) {
  const Json* value = find_member(object, key);
  if (value == nullptr) {
    check_file(otherwise.has_value(), FileFault::range, where, "\"{}\" is missing", key);
    return *otherwise;
  }
  if (!value->is_string()) fail_type(where, key, "a string", *value);
  return value->get<std::string>();
}

}  // namespace caravan
