// JSON, kept in file order so that a load-save round trip changes nothing that it does not understand.
//
//   Json config = parse_json(read_file(path), path);
//   int64_t layers = get_int(config, "num_hidden_layers", path, {.min = 1, .max = 100000});
//
// Errors: corrupt_file with fault json (syntax, with the byte position), duplicate, type, range, limit, utf8.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace caravan {

using Json = nlohmann::ordered_json;

struct JsonLimits {
  int depth = 64;
  bool refuse_duplicates = true;
};

Json parse_json(std::string_view text, std::string_view where, JsonLimits limits = {});

// For readers that take nlohmann's events themselves (Json::sax_parse) instead of a document: what to check before, and
// what to call from parse_error().
void check_json_text(std::string_view text, std::string_view where);  // UTF-8, no NUL
[[noreturn]] void fail_json(std::string_view where, const nlohmann::detail::exception& error);

// As Python's json.dumps(indent=2, ensure_ascii=False): what Hugging Face folders hold. Invalid UTF-8 is replaced.
std::string dump_json(const Json& json, int indent = 2);

struct IntRange {
  int64_t min = std::numeric_limits<int64_t>::min();
  int64_t max = std::numeric_limits<int64_t>::max();
};

// The value of a key, checked; a missing or null key gives the default, or an error where there is none.
int64_t get_int(const Json& object, std::string_view key, std::string_view where, IntRange range = {},
                std::optional<int64_t> otherwise = std::nullopt);
double get_number(const Json& object, std::string_view key, std::string_view where,
                  std::optional<double> otherwise = std::nullopt);
bool get_bool(const Json& object, std::string_view key, std::string_view where,
              std::optional<bool> otherwise = std::nullopt);
std::string get_string(const Json& object, std::string_view key, std::string_view where,
                       std::optional<std::string> otherwise = std::nullopt);

// The member, or nullptr where the key is missing or null.
const Json* find_member(const Json& object, std::string_view key);

}  // namespace caravan
