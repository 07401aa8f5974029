// items.jsonl: reading line by line with the line number in every error, writing atomically.
#include "caravan/items/catalogue.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/json.h"
#include "caravan/base/lines.h"

namespace caravan::items {
namespace {

std::vector<std::string> get_strings(const Json& object, std::string_view key, std::string_view where) {
  std::vector<std::string> strings;
  const Json* value = find_member(object, key);
  if (value == nullptr) return strings;
  check_file(value->is_array(), FileFault::type, where, "\"{}\" must be a list of strings", key);
  for (const Json& element : *value) {
    check_file(element.is_string(), FileFault::type, where, "\"{}\" must be a list of strings", key);
    strings.push_back(element.get<std::string>());
  }
  return strings;
}

Item parse_item(const Json& object, std::string_view where) {
  check_file(object.is_object(), FileFault::type, where, "an item must be a JSON object");
  static constexpr std::string_view kKeys[] = {"id", "title", "text", "categories", "codes", "count"};
  for (const auto& [key, value] : object.items()) {
    check_file(std::find(std::begin(kKeys), std::end(kKeys), key) != std::end(kKeys), FileFault::unsupported, where,
               "unknown key \"{}\"; an item has {}", key, fmt::join(kKeys, ", "));
  }
  return {.id = get_string(object, "id", where),
          .title = get_string(object, "title", where, ""),
          .text = get_string(object, "text", where, ""),
          .categories = get_strings(object, "categories", where),
          .codes = get_strings(object, "codes", where),
          .count = get_int(object, "count", where, {.min = 0}, 0)};
}

Json to_json(const Item& item) {
  Json object = {{"id", item.id}, {"title", item.title}};
  if (!item.text.empty()) object["text"] = item.text;
  if (!item.categories.empty()) object["categories"] = item.categories;
  if (!item.codes.empty()) object["codes"] = item.codes;
  object["count"] = item.count;
  return object;
}

}  // namespace

Catalogue::Catalogue(std::vector<Item> items) : items_(std::move(items)) {
  check(items_.size() <= static_cast<size_t>(std::numeric_limits<int32_t>::max()), ErrorCode::unsupported,
        "{} items: at most 2^31 - 1 are supported", items_.size());
  index_.reserve(items_.size());
  for (size_t i = 0; i < items_.size(); ++i) {
    check(!items_[i].id.empty(), ErrorCode::invalid_argument, "item {} has an empty id", i);
    const auto [at, added] = index_.emplace(items_[i].id, static_cast<int32_t>(i));
    check(added, ErrorCode::invalid_argument, "the item id '{}' appears twice: items {} and {}", items_[i].id,
          at->second, i);
  }
}

std::optional<int32_t> Catalogue::find(std::string_view id) const {
  const auto at = index_.find(id);
  return at == index_.end() ? std::nullopt : std::optional(at->second);
}

void Catalogue::set_codes(int64_t index, std::vector<std::string> codes) {
  items_[static_cast<size_t>(index)].codes = std::move(codes);
}

std::string full_text(const Item& item) {
  std::string text = item.title;
  const auto append = [&](std::string_view part) {
    if (part.empty()) return;
    if (!text.empty()) text += text.back() == '.' ? " " : ". ";
    text += part;
  };
  append(fmt::format("{}", fmt::join(item.categories, ", ")));
  append(item.text);
  return text;
}

std::vector<std::string> ids_of(const Catalogue& items) {
  std::vector<std::string> ids;
  for (const Item& item : items) ids.push_back(item.id);
  return ids;
}

Catalogue read_catalogue(const std::string& path) {
  std::vector<Item> items;
  std::unordered_map<std::string, size_t> lines;  // id -> line
  read_jsonl(path, [&](const Json& object, size_t line) {
    const std::string where = fmt::format("{}:{}", path, line);
    items.push_back(parse_item(object, where));
    check_file(!items.back().id.empty(), FileFault::range, where, "the item's id is empty");
    const auto [at, added] = lines.emplace(items.back().id, line);
    check_file(added, FileFault::duplicate, where, "the item id '{}' stands in line {} already", items.back().id,
               at->second);
  });
  return Catalogue(std::move(items));
}

void write_catalogue(const Catalogue& items, const std::string& path) {
  AtomicFile file(path);
  for (const Item& item : items) file.write(dump_json(to_json(item), -1) + "\n");
  file.commit();
}

}  // namespace caravan::items
