#include "caravan/base/nearest.h"

#include <algorithm>

namespace caravan {

int edit_distance(std::string_view a, std::string_view b) {
  // Three rows of the table d[i][j]: the distance between the first i letters of a and the first j of b.
  std::vector<int> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = static_cast<int>(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    std::swap(before, last);
    std::swap(last, row);
    row[0] = static_cast<int>(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row[b.size()];
}

std::string nearest(std::string_view typed, const std::vector<std::string>& names) {
  if (typed.size() <= 2) return "";  // any other letter is as near
  typed = typed.substr(0, 64);       // a long argument is no misspelt name; keeps the table small
  std::string best;
  int best_distance = std::max<int>(1, static_cast<int>(typed.size()) / 3) + 1;
  for (const std::string& name : names) {
    const int distance = edit_distance(typed, name);
    if (distance < best_distance) best_distance = distance, best = name;
  }
  if (!best.empty() || typed.size() < 4) return best;
  for (const std::string& name : names) {  // "--temp" for "--temperature"
    if (name.starts_with(typed)) return name;
  }
  return best;
}

std::string did_you_mean(std::string_view typed, const std::vector<std::string>& names) {
  const std::string name = nearest(typed, names);
  return name.empty() ? "" : " (did you mean '" + name + "'?)";
}

}  // namespace caravan
