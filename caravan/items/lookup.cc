#include "caravan/items/lookup.h"

#include <algorithm>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/nearest.h"

namespace caravan::items {
namespace {

constexpr size_t kListed = 5;  // items of an error

std::string folded(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

// "heat" of "heat (1995)"; empty where no year in brackets ends the title.
std::string_view without_year(std::string_view title) {
  constexpr std::string_view kForm = " (0000)";
  if (title.size() <= kForm.size()) return {};
  const std::string_view end = title.substr(title.size() - kForm.size());
  for (size_t i = 0; i < kForm.size(); ++i) {
    const bool digit = end[i] >= '0' && end[i] <= '9';
    if (kForm[i] == '0' ? !digit : end[i] != kForm[i]) return {};
  }
  return title.substr(0, title.size() - kForm.size());
}

// What was typed, in a message: control characters would steer the terminal, and a NUL would end the message.
std::string shown(std::string_view text) {
  constexpr size_t kLongest = 200;
  std::string out;
  for (const char c : text.substr(0, kLongest)) {
    const auto byte = static_cast<unsigned char>(c);
    byte < 0x20 || byte == 0x7F ? out += fmt::format("\\x{:02x}", byte) : out += c;
  }
  return out + (text.size() > kLongest ? " ..." : "");
}

std::string in_folder(const std::string& folder, std::string_view name) { return folder + "/" + std::string(name); }

}  // namespace

bool has_item_set(const std::string& folder) {
  return file_exists(in_folder(folder, kItemsFile)) && file_exists(in_folder(folder, kCodesFile));
}

ItemSet read_item_set(const std::string& folder) {
  ItemSet set{.catalogue = read_catalogue(in_folder(folder, kItemsFile)), .codes = {}};
  set.codes = read_codes(in_folder(folder, kCodesFile), ids_of(set.catalogue));
  return set;
}

void write_item_set(const ItemSet& set, const std::string& folder) {
  check(set.catalogue.size() == set.codes.items(), ErrorCode::invalid_argument, "codes of {} items for {} items",
        set.codes.items(), set.catalogue.size());
  write_catalogue(set.catalogue, in_folder(folder, kItemsFile));
  write_codes(set.codes, in_folder(folder, kCodesFile), ids_of(set.catalogue));
}

ItemLookup::ItemLookup(const ItemSet& set) : set_(&set) {
  for (int32_t i = 0; i < set.catalogue.size(); ++i) {
    if (set.catalogue[i].id.find(',') != std::string::npos) comma_ids_.insert(set.catalogue[i].id);
    if (set.catalogue[i].title.empty()) continue;
    const std::string title = folded(set.catalogue[i].title);
    if (const auto undated = without_year(title); !undated.empty()) undated_.emplace(undated, i);
    titles_.emplace(title, i);
  }
  for (int32_t i = 0; i < set.codes.items(); ++i) {
    const auto tuple = set.codes.codes(i);
    tuples_[{tuple.begin(), tuple.end()}].push_back(i);
  }
  for (auto& [tuple, sharing] : tuples_) {
    std::stable_sort(sharing.begin(), sharing.end(),
                     [&](int32_t a, int32_t b) { return set.catalogue[a].count > set.catalogue[b].count; });
  }
}

std::vector<int32_t> ItemLookup::find_title(std::string_view title) const {
  std::vector<int32_t> found;
  for (auto [it, end] = titles_.equal_range(folded(title)); it != end; ++it) {
    if (set_->catalogue[it->second].title == title) found.push_back(it->second);
  }
  return found;
}

std::vector<int32_t> ItemLookup::find_codes(std::span<const int32_t> codes) const {
  const auto found = tuples_.find({codes.begin(), codes.end()});
  return found == tuples_.end() ? std::vector<int32_t>() : found->second;
}

std::vector<int32_t> ItemLookup::titles_from(const std::string& beginning, size_t limit) const {
  std::vector<int32_t> found;
  for (auto it = titles_.lower_bound(beginning); it != titles_.end() && found.size() < limit; ++it) {
    if (!it->first.starts_with(beginning)) break;
    found.push_back(it->second);
  }
  return found;
}

std::vector<int32_t> ItemLookup::titles_of_any_year(const std::string& folded) const {
  std::vector<int32_t> found;
  for (auto [it, end] = undated_.equal_range(folded); it != end; ++it) found.push_back(it->second);
  return found;
}

std::optional<int32_t> ItemLookup::exact(std::string_view typed) const {
  const std::string_view text = trimmed(typed);
  for (const std::string_view id : {typed, text}) {  // an id may have spaces around it
    if (const auto item = set_->catalogue.find(id)) return item;
  }
  std::vector<int32_t> titled = find_title(text);
  if (titled.empty()) {
    for (auto [it, end] = titles_.equal_range(folded(text)); it != end; ++it) titled.push_back(it->second);
  }
  if (titled.size() > 1)
    fail_several(fmt::format("several items have the title \"{}\"; give one's id", shown(text)), titled);
  return titled.empty() ? std::nullopt : std::optional(titled.front());
}

bool ItemLookup::goes_on(std::string_view beginning) const {
  const std::string id = std::string(beginning) + ",";
  const auto next = comma_ids_.lower_bound(id);
  return (next != comma_ids_.end() && next->starts_with(id)) || !titles_from(folded(id), 1).empty();
}

std::vector<int32_t> ItemLookup::resolve_list(std::string_view text) const {
  constexpr size_t kMostCommas = 16;  // in an id or a title
  std::vector<size_t> ends;           // of the pieces
  for (size_t at = text.find(','); at != std::string_view::npos; at = text.find(',', at + 1)) ends.push_back(at);
  ends.push_back(text.size());
  std::vector<int32_t> items;
  for (size_t begin = 0, piece = 0; piece < ends.size();) {
    const bool longer = goes_on(trimmed(text.substr(begin, ends[piece] - begin)));
    size_t last = longer ? std::min(piece + kMostCommas, ends.size() - 1) : piece;
    std::optional<int32_t> item;
    for (; last > piece; --last) {
      const std::string_view run = text.substr(begin, ends[last] - begin);
      if ((item = exact(run)) || undated_.contains(folded(trimmed(run)))) break;
    }
    if (!item && (ends.size() == 1 || !trimmed(text.substr(begin, ends[last] - begin)).empty())) {
      item = resolve(text.substr(begin, ends[last] - begin));
    }
    if (item) items.push_back(*item);
    begin = ends[last] + 1;
    piece = last + 1;
  }
  return items;
}

int32_t ItemLookup::resolve(std::string_view typed) const {
  if (const auto item = exact(typed)) return *item;
  const std::string_view text = trimmed(typed);
  check(!text.empty(), ErrorCode::invalid_argument, "an item's id, title or codes are expected, got nothing");
  if (const auto codes = parse_code_tuple(text)) {
    const auto sharing = find_codes(*codes);
    if (sharing.empty()) fail_codes(text, codes->size());
    return sharing.front();
  }
  const std::string lower = folded(text);
  const auto any_year = titles_of_any_year(lower);
  if (any_year.size() == 1) return any_year.front();
  if (!any_year.empty())
    fail_several(fmt::format("several items are called \"{}\"; give one's id or add its year", shown(text)), any_year);
  const auto longer = titles_from(lower, kListed + 1);
  if (longer.size() == 1) return longer.front();
  if (longer.empty()) {
    const auto near = near_names(lower);
    fail(ErrorCode::not_found, "no item has the id or title \"{}\" among {} items{}", shown(text),
         set_->catalogue.size(), near.empty() ? "" : fmt::format(" (did you mean {}?)", fmt::join(near, ", ")));
  }
  fail_several(fmt::format("several items begin with \"{}\"; give one's id or more of its title", shown(text)), longer);
}

void ItemLookup::fail_several(std::string_view problem, std::span<const int32_t> items) const {
  std::string some;
  for (const int32_t item : items.first(std::min(items.size(), kListed)))
    some += fmt::format("\n  {}  {}", set_->catalogue[item].id, set_->catalogue[item].title);
  fail(ErrorCode::invalid_argument, "{}:{}{}", problem, some, items.size() > kListed ? "\n  ..." : "");
}

void ItemLookup::fail_codes(std::string_view text, size_t levels) const {
  const auto deep = static_cast<size_t>(set_->codes.levels());
  if (levels == deep || set_->codes.items() == 0) fail(ErrorCode::not_found, "no item has the codes {}", text);
  fail(ErrorCode::not_found, "no item has the codes {}: {} level{}, items have {} (such as {})", text, levels,
       levels == 1 ? "" : "s", deep, set_->codes.spelling(0));
}

// Titles that hold the typed text, most popular first; else the title or id of the nearest spelling.
std::vector<std::string> ItemLookup::near_names(const std::string& folded) const {
  constexpr size_t kShown = 3, kLongest = 64;
  const auto& catalogue = set_->catalogue;
  std::vector<int32_t> holding;
  for (const auto& [title, item] : titles_) {
    if (folded.size() >= 3 && title.find(folded) != std::string::npos) holding.push_back(item);
  }
  std::stable_sort(holding.begin(), holding.end(),
                   [&](int32_t a, int32_t b) { return catalogue[a].count > catalogue[b].count; });
  if (holding.empty()) {
    std::vector<std::string> names;
    for (const auto& [title, item] : titles_) names.push_back(title.substr(0, kLongest));
    for (const auto& [title, item] : undated_) names.push_back(title.substr(0, kLongest));
    for (const Item& item : catalogue) names.push_back(item.id);
    const std::string name = nearest(folded, names);
    if (!name.empty()) holding = titles_of_any_year(name);
    if (!name.empty() && holding.empty()) holding = titles_from(name, 1);
    if (holding.empty()) return name.empty() ? std::vector<std::string>() : std::vector<std::string>{name};
  }
  std::vector<std::string> near;
  for (size_t i = 0; i < std::min(kShown, holding.size()); ++i) {
    near.push_back(fmt::format("\"{}\" (id {})", catalogue[holding[i]].title, catalogue[holding[i]].id));
  }
  return near;
}

}  // namespace caravan::items
