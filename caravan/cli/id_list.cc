#include "caravan/cli/id_list.h"

#include <charconv>

#include "caravan/base/error.h"

namespace caravan::cli {

std::vector<int32_t> parse_ids(std::string_view text, std::string_view where) {
  constexpr std::string_view kSpace = " \t\r\n";
  const auto trim = [&](std::string_view s) {
    const size_t begin = s.find_first_not_of(kSpace);
    return begin == std::string_view::npos ? std::string_view()
                                           : s.substr(begin, s.find_last_not_of(kSpace) - begin + 1);
  };
  text = trim(text);
  if (text.size() >= 2 && text.front() == '[' && text.back() == ']') text = trim(text.substr(1, text.size() - 2));
  std::vector<int32_t> ids;
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of(" \t\r\n,"), text.size());
    const std::string_view word = text.substr(0, end);
    int32_t id = 0;
    const auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    check(error == std::errc() && stop == word.data() + word.size() && id >= 0, ErrorCode::invalid_argument,
          "{}: '{}' is not a token id; expected integers such as 1,2,3", where, word.substr(0, 40));
    ids.push_back(id);
    text = trim(text.substr(end));
    if (!text.empty() && text.front() == ',') text = trim(text.substr(1));
  }
  return ids;
}

int64_t vocabulary_of(const Json& config) {
  const Json* size = find_member(config, "vocab_size");
  return size != nullptr && size->is_number_integer() ? size->get<int64_t>() : 0;
}

void check_in_vocabulary(int64_t id, int64_t vocabulary, std::string_view where) {
  check(id >= 0 && id < vocabulary, ErrorCode::invalid_argument,
        "{}: token id {} is not in the vocabulary of {} tokens", where, id, vocabulary);
}

}  // namespace caravan::cli
