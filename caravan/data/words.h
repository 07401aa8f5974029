// Fields and words of a line.
#pragma once

#include <algorithm>
#include <string_view>
#include <vector>

namespace caravan::data {

// Without spaces and tabs at both ends.
inline std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

// Words between spaces and tabs, into `words`.
inline void split_words(std::string_view text, std::vector<std::string_view>& words) {
  words.clear();
  for (size_t at = 0; (at = text.find_first_not_of(" \t", at)) != std::string_view::npos;) {
    const size_t end = std::min(text.find_first_of(" \t", at), text.size());
    words.push_back(text.substr(at, end - at));
    at = end;
  }
}

}  // namespace caravan::data
