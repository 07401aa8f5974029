// What is known about items: titles, categories and other text, joined to a log by item id.
//
//   Descriptions about = read_descriptions({"movies.csv"}, log.items, {});
//   about.items.at("1").title;                                   // "Toy Story (1995)"
//
// Forms: tables with a header (CSV, TSV, RecBole's .item), JSON Lines, {"id": {"title": ...}} (*.item.json of LC-Rec,
// LETTER, MiniOneRec), {"id": ["<a_1>", "<b_2>"]} (*.index.json, ready-made codes). Several files complete each other:
// what one file leaves empty comes from the next. Text columns become "name: value; name: value" in Item::text; links,
// empty values and RecBole's float columns are left out.
#pragma once

#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "caravan/data/bad_rows.h"
#include "caravan/data/interactions.h"
#include "caravan/data/interner.h"
#include "caravan/items/catalogue.h"

namespace caravan::data {

struct DescriptionOptions {
  std::string format;  // empty: detected
  std::string delimiter;
  // Names in the header. Empty: the id column is the one that holds the log's item ids, the others go by usual names.
  std::string id_column, title_column, category_column;
  std::vector<std::string> text_columns;  // empty: all others; {"none"}: no text
  bool latin1 = false;
  bool skip_bad_rows = false;
};

struct Descriptions {
  std::unordered_map<std::string, items::Item> items;  // by id; counts are 0
  BadRows bad;
  std::vector<std::string> sources;  // "movies.csv: table, id = movieId, title = title, categories = genres"
};

// `known` holds the log's item ids. Throws as read_interactions(), also for an id that a file describes twice.
Descriptions read_descriptions(std::span<const std::string> paths, const Interner& known,
                               const DescriptionOptions& options);

// Whether a file describes items rather than holding a log: by its form, or a header with titles and without users.
bool looks_like_descriptions(const std::string& path);

// "Hair Care | Styling", "Hair Care, Styling" -> {"Hair Care", "Styling"}; "spaced" (RecBole's token_seq): at spaces.
std::vector<std::string> split_categories(std::string_view text, bool spaced);

// Python's "['a', \"b\"]" as "a b"; any other text as it is.
std::string without_list_syntax(const std::string& text);

}  // namespace caravan::data
