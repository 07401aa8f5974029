// Item codes (semantic ids): every item is a tuple of codes, one a level, coarse to fine (Rajput et al. 2023, TIGER).
// A code is spelled as a word of the tokenizer, "<a_101>": the level's letters (a, b, ... z, aa, ab ...) and the code.
//
//   ItemCodes codes({256, 256, 256});                    // codebook sizes
//   codes.add(std::array{101, 42, 7});                   // item 0
//   codes.spelling(0);                                   // "<a_101><b_42><c_7>"
//   write_codes(codes, "data/codes.json");
//
// Items may have different depths, and several items may have equal tuples. Making the codes is not done here.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace caravan::items {

// --- spelling ----------------------------------------------------------------------------------------------------
struct Code {
  int64_t level = 0;
  int32_t code = 0;
  bool operator==(const Code&) const = default;
};

std::string level_letters(int64_t level);                     // 0 "a", 25 "z", 26 "aa"
std::string code_token(int64_t level, int32_t code);          // "<a_101>"
std::optional<Code> parse_code_token(std::string_view word);  // nullopt: not such a word
// "<a_1><b_2><c_3>", spaces allowed between the words; levels must count up from a. nullopt: not such a text.
std::optional<std::vector<int32_t>> parse_code_tuple(std::string_view text);

// --- codes -------------------------------------------------------------------------------------------------------
class ItemCodes {
 public:
  static constexpr int32_t kNone = -1;  // in table(): this item has no code at this level

  ItemCodes() = default;
  explicit ItemCodes(std::vector<int32_t> sizes);                     // codes a level has
  ItemCodes(std::vector<int32_t> sizes, std::vector<int32_t> table);  // table [N, L], checked
  void add(std::span<const int32_t> codes);                           // 1 to L codes, each below its size

  int64_t items() const { return sizes_.empty() ? 0 : std::ssize(table_) / levels(); }
  int64_t levels() const { return std::ssize(sizes_); }
  std::span<const int32_t> sizes() const { return sizes_; }
  std::span<const int32_t> codes(int64_t item) const;        // as many as the item is deep
  std::span<const int32_t> table() const { return table_; }  // [N, L]
  bool same_depth() const;                                   // every item has a code at every level
  std::string spelling(int64_t item) const;
  bool operator==(const ItemCodes&) const = default;

 private:
  std::vector<int32_t> sizes_, table_;
};

// Token ids of all codes, [L][size]: `find` is the tokenizer's look-up. Codes that no item has may be missing there
// (-1); a used one that is missing is an error that names it.
using FindToken = std::function<std::optional<int32_t>(std::string_view word)>;
std::vector<std::vector<int32_t>> code_token_ids(const ItemCodes& codes, const FindToken& find);

// Every item's tokens, in the items' order.
std::vector<std::vector<int32_t>> item_tokens(const ItemCodes& codes, const FindToken& find);

// --- files -------------------------------------------------------------------------------------------------------
// codes.json: {"format": "caravan.item_codes", "version": 1, "items_crc32c": 2671383228, "sizes": [256, ...],
// "codes": [[101, 42, 7], ...]}, in the order of the data set's items.jsonl. Throws corrupt_file for a file that breaks
// these rules. The fingerprint says which items, in which order; files of others may lack it.
inline constexpr std::string_view kCodesFile = "codes.json";
ItemCodes read_codes(const std::string& path);
// The codes of these items: corrupt_file where the file says that it was made for others, or for another number.
ItemCodes read_codes(const std::string& path, std::span<const std::string> ids);
void write_codes(const ItemCodes& codes, const std::string& path, std::span<const std::string> ids = {});
std::string codes_json(const ItemCodes& codes, std::span<const std::string> ids = {});  // the file's contents
uint32_t fingerprint(std::span<const std::string> ids);  // CRC-32C of the ids, behind each a NUL

// Codes under the ids of their file.
struct NamedCodes {
  std::vector<std::string> ids;
  ItemCodes codes;
};

// index.json of LC-Rec, LETTER and MiniOneRec: {"0": ["<a_12>", "<b_3>", ...], ...}. A level's size is its largest code
// + 1.
NamedCodes read_index_json(const std::string& path);
void write_index_json(const ItemCodes& codes, std::span<const std::string> ids, const std::string& path);

// A table with a header line: the id, then a column of codes a level ("id<TAB>a<TAB>b<TAB>c"); empty cells only at the
// end of a row.
NamedCodes read_codes_table(const std::string& path, char delimiter = '\t');

// Any of the three files above, by its content; codes.json has the ids "0", "1", ...
NamedCodes read_named_codes(const std::string& path);

// The codes in the order of `ids`. Throws not_found where ids have no codes (names the first few).
ItemCodes arrange(const NamedCodes& codes, std::span<const std::string> ids);

// Any of the three files, for these items: codes.json goes by their order, the others by their ids.
ItemCodes read_codes_for(std::span<const std::string> ids, const std::string& path);

}  // namespace caravan::items
