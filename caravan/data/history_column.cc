#include "caravan/data/history_column.h"

#include <algorithm>

#include "caravan/data/words.h"

namespace caravan::data {

std::vector<std::string> parse_list(std::string_view text) {
  text = trimmed(text);
  const bool brackets = text.size() >= 2 && text.front() == '[' && text.back() == ']';
  if (brackets) text = text.substr(1, text.size() - 2);
  const bool commas = brackets || text.find(',') != std::string_view::npos;
  std::vector<std::string> items;
  while (!(text = trimmed(text)).empty()) {
    const char quote = text.front() == '\'' || text.front() == '"' ? text.front() : '\0';
    const size_t closing = quote == '\0' ? std::string_view::npos : text.find(quote, 1);
    if (closing != std::string_view::npos) {
      items.emplace_back(text.substr(1, closing - 1));
      text = text.substr(closing + 1);
    }
    const size_t end = std::min(commas ? text.find(',') : text.find_first_of(" \t"), text.size());
    if (closing == std::string_view::npos) items.emplace_back(trimmed(text.substr(0, end)));
    text = text.substr(std::min(end + 1, text.size()));
  }
  std::erase(items, "");
  return items;
}

std::vector<std::string> HistoryMerger::add(const std::string& user, std::vector<std::string> history,
                                            std::string_view item) {
  std::vector<std::string>& known = known_[user];
  history.emplace_back(item);
  if (std::search(known.begin(), known.end(), history.begin(), history.end()) != known.end()) return {};
  size_t same = std::min(known.size(), history.size() - 1);  // the item itself is always new
  while (same > 0 && !std::equal(known.end() - static_cast<int64_t>(same), known.end(), history.begin())) --same;
  history.erase(history.begin(), history.begin() + static_cast<int64_t>(same));
  known.insert(known.end(), history.begin(), history.end());
  return history;
}

}  // namespace caravan::data
