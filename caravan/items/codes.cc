#include "caravan/items/codes.h"

#include <algorithm>
#include <charconv>

#include "caravan/base/error.h"

namespace caravan::items {
namespace {

constexpr int64_t kMaxLevels = 1024;

void check_sizes(std::span<const int32_t> sizes) {
  check(std::ssize(sizes) <= kMaxLevels, ErrorCode::invalid_argument, "{} code levels, at most {} are possible",
        sizes.size(), kMaxLevels);
  for (size_t level = 0; level < sizes.size(); ++level) {
    check(sizes[level] > 0, ErrorCode::invalid_argument, "code level {} has {} codes, at least 1 is needed",
          level_letters(static_cast<int64_t>(level)), sizes[level]);
  }
}

}  // namespace

std::string level_letters(int64_t level) {
  std::string letters;
  for (int64_t n = level; n >= 0; n = n / 26 - 1) letters.insert(letters.begin(), static_cast<char>('a' + n % 26));
  return letters;
}

std::string code_token(int64_t level, int32_t code) { return fmt::format("<{}_{}>", level_letters(level), code); }

std::optional<Code> parse_code_token(std::string_view word) {
  if (word.size() < 5 || word.front() != '<' || word.back() != '>') return std::nullopt;
  word = word.substr(1, word.size() - 2);
  const size_t bar = word.find('_');
  if (bar == std::string_view::npos || bar == 0 || bar > 2) return std::nullopt;
  int64_t level = 0;
  for (char c : word.substr(0, bar)) {
    if (c < 'a' || c > 'z') return std::nullopt;
    level = level * 26 + (c - 'a') + 1;
  }
  const std::string_view digits = word.substr(bar + 1);
  Code code{.level = level - 1};
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), code.code);
  const bool padded = digits.size() > 1 && digits[0] == '0';  // would be spelled differently when written
  if (error != std::errc() || end != digits.data() + digits.size() || code.code < 0 || padded) return std::nullopt;
  return code;
}

std::optional<std::vector<int32_t>> parse_code_tuple(std::string_view text) {
  std::vector<int32_t> codes;
  while (true) {
    const size_t start = text.find_first_not_of(' ');
    if (start == std::string_view::npos) break;
    const size_t end = text.find('>', start);
    if (end == std::string_view::npos) return std::nullopt;
    const auto code = parse_code_token(text.substr(start, end + 1 - start));
    if (!code || code->level != std::ssize(codes)) return std::nullopt;
    codes.push_back(code->code);
    text.remove_prefix(end + 1);
  }
  if (codes.empty()) return std::nullopt;
  return codes;
}

ItemCodes::ItemCodes(std::vector<int32_t> sizes) : sizes_(std::move(sizes)) { check_sizes(sizes_); }

ItemCodes::ItemCodes(std::vector<int32_t> sizes, std::vector<int32_t> table) : ItemCodes(std::move(sizes)) {
  const size_t width = sizes_.size();
  check(width > 0 ? table.size() % width == 0 : table.empty(), ErrorCode::invalid_argument,
        "a table of {} codes does not divide into rows of {} levels", table.size(), width);
  table_.reserve(table.size());
  for (size_t at = 0; at < table.size(); at += width) {
    std::span<const int32_t> row(table.data() + at, width);
    while (!row.empty() && row.back() == kNone) row = row.first(row.size() - 1);
    add(row);
  }
}

void ItemCodes::add(std::span<const int32_t> codes) {
  const int64_t item = items();
  check(!codes.empty() && std::ssize(codes) <= levels(), ErrorCode::invalid_argument,
        "item {} has {} codes; between 1 and {} (one a level) are possible", item, codes.size(), levels());
  for (size_t level = 0; level < codes.size(); ++level) {
    check(codes[level] >= 0 && codes[level] < sizes_[level], ErrorCode::invalid_argument,
          "item {}: code {} of level {} is outside its {} codes", item, codes[level],
          level_letters(static_cast<int64_t>(level)), sizes_[level]);
  }
  table_.insert(table_.end(), codes.begin(), codes.end());
  table_.resize(table_.size() + sizes_.size() - codes.size(), kNone);
}

std::span<const int32_t> ItemCodes::codes(int64_t item) const {
  std::span<const int32_t> row(table_.data() + item * levels(), sizes_.size());
  while (row.back() == kNone) row = row.first(row.size() - 1);
  return row;
}

bool ItemCodes::same_depth() const { return std::find(table_.begin(), table_.end(), kNone) == table_.end(); }

std::string ItemCodes::spelling(int64_t item) const {
  std::string text;
  int64_t level = 0;
  for (int32_t code : codes(item)) text += code_token(level++, code);
  return text;
}

std::vector<std::vector<int32_t>> code_token_ids(const ItemCodes& codes, const FindToken& find) {
  std::vector<std::vector<int32_t>> ids;
  for (int64_t level = 0; level < codes.levels(); ++level) {
    auto& row = ids.emplace_back(codes.sizes()[level], -1);
    for (int32_t code = 0; code < codes.sizes()[level]; ++code) row[code] = find(code_token(level, code)).value_or(-1);
  }
  for (int64_t item = 0; item < codes.items(); ++item) {
    const auto tuple = codes.codes(item);
    for (size_t level = 0; level < tuple.size(); ++level) {
      check(ids[level][tuple[level]] >= 0, ErrorCode::not_found,
            "the tokenizer has no token {} (of item {}): it was made for other item codes",
            code_token(static_cast<int64_t>(level), tuple[level]), item);
    }
  }
  return ids;
}

std::vector<std::vector<int32_t>> item_tokens(const ItemCodes& codes, const FindToken& find) {
  const auto ids = code_token_ids(codes, find);
  std::vector<std::vector<int32_t>> tokens(codes.items());
  for (int64_t item = 0; item < codes.items(); ++item) {
    const auto tuple = codes.codes(item);
    for (size_t level = 0; level < tuple.size(); ++level) tokens[item].push_back(ids[level][tuple[level]]);
  }
  return tokens;
}

}  // namespace caravan::items
