// The items of a dataset, in internal order: everything that trains or recommends calls an item by its index here, and
// only what is shown to people or read from their files uses the item's own id.
//
//   Catalogue items = read_catalogue("beauty/items.jsonl");
//   items[17].title;                        // "OPI Nail Lacquer, Simmer and Shimmer, 0.5-Fluid Ounce"
//   items.find("B004756YJA");               // 17, or nullopt
//   full_text(items[17]);                   // what text vectors are made from
//
// On disk: one JSON object a line, the index is the line number from 0. Keys: id (required), title, text, categories
// (list of strings), codes (list of code words), count. Keys that are not known here are refused: a mistyped one would
// be lost.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace caravan::items {

struct Item {
  std::string id;                       // as in the user's files; never empty, unique
  std::string title;                    // may be empty
  std::string text;                     // other descriptions, "brand: OPI; year: 1995"; may be empty
  std::vector<std::string> categories;  // from broad to narrow where the source has an order
  std::vector<std::string> codes;       // semantic id that came with the data ("<a_101>", "<b_42>"), usually empty
  int64_t count = 0;                    // interactions in the training part; never from validation or test
};

class Catalogue {
 public:
  Catalogue() = default;
  explicit Catalogue(std::vector<Item> items);  // invalid_argument where an id is empty or appears twice

  int64_t size() const { return static_cast<int64_t>(items_.size()); }  // N
  bool empty() const { return items_.empty(); }
  const Item& operator[](int64_t index) const { return items_[static_cast<size_t>(index)]; }
  auto begin() const { return items_.begin(); }
  auto end() const { return items_.end(); }

  std::optional<int32_t> find(std::string_view id) const;
  void set_count(int64_t index, int64_t count) { items_[static_cast<size_t>(index)].count = count; }
  void set_codes(int64_t index, std::vector<std::string> codes);

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  std::vector<Item> items_;
  std::unordered_map<std::string, int32_t, Hash, std::equal_to<>> index_;
};

// Title, categories and text in one string, "TITLE. CATEGORY, CATEGORY. TEXT"; empty parts are left out. The id is not
// in it.
std::string full_text(const Item& item);

std::vector<std::string> ids_of(const Catalogue& items);  // in their order

Catalogue read_catalogue(const std::string& path);
void write_catalogue(const Catalogue& items, const std::string& path);  // atomic

}  // namespace caravan::items
