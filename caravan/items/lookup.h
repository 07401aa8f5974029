// From what a person types to an item: an id, a code tuple, a title or its beginning, with the nearest names in the
// error where there is no such item.
//
//   ItemSet set = read_item_set("model");                  // items.jsonl + codes.json
//   ItemLookup lookup(set);
//   int32_t item = lookup.resolve("the matrix");           // or "B004756YJA", "<a_1><b_2><c_3>"
//   set.catalogue[item].title;
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/items/catalogue.h"
#include "caravan/items/codes.h"

namespace caravan::items {

// What a data set with item codes and a recommender's checkpoint both hold: line i of items.jsonl is item i of
// codes.json.
struct ItemSet {
  Catalogue catalogue;
  ItemCodes codes;
};

inline constexpr std::string_view kItemsFile = "items.jsonl";
bool has_item_set(const std::string& folder);  // both files are there
ItemSet read_item_set(const std::string& folder);
void write_item_set(const ItemSet& set, const std::string& folder);

class ItemLookup {
 public:
  explicit ItemLookup(const ItemSet& set);  // which must outlive it

  std::vector<int32_t> find_title(std::string_view title) const;          // exactly this one; several items may have it
  std::vector<int32_t> find_codes(std::span<const int32_t> codes) const;  // most popular first

  // An id; a code tuple (of several items the most popular); a title, exactly and then without regard to (ASCII) case;
  // a title without its year ("Toy Story" of "Toy Story (1995)"); the beginning of a title. Throws not_found, with the
  // nearest names, or invalid_argument where several items fit, with some of them: nobody but who typed it can tell
  // which is meant.
  int32_t resolve(std::string_view text) const;

  // Several of them, separated by commas. Ids and titles may hold commas themselves: the longest run of pieces that is
  // exactly an item's id or title, with or without its year, counts as one.
  std::vector<int32_t> resolve_list(std::string_view text) const;

  // An id or a whole title; nullopt where there is none. Throws as resolve() where several items have the title.
  std::optional<int32_t> exact(std::string_view text) const;

 private:
  bool goes_on(std::string_view beginning) const;  // whether an id or a title is this, a comma and more
  std::vector<int32_t> titles_from(const std::string& beginning, size_t limit) const;
  std::vector<int32_t> titles_of_any_year(const std::string& folded) const;
  [[noreturn]] void fail_several(std::string_view problem, std::span<const int32_t> items) const;
  [[noreturn]] void fail_codes(std::string_view text, size_t levels) const;
  std::vector<std::string> near_names(const std::string& folded) const;
  const ItemSet* set_;
  std::multimap<std::string, int32_t> titles_;                   // without case
  std::set<std::string, std::less<>> comma_ids_;                 // ids that hold commas
  std::multimap<std::string, int32_t> undated_;                  // of these the ones that end in a year, without it
  std::map<std::vector<int32_t>, std::vector<int32_t>> tuples_;  // items of a tuple, most popular first
};

}  // namespace caravan::items
