// The item codes of a data set and, where no tokenizer is given, a vocabulary of their words.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "caravan/data/dataset.h"
#include "caravan/items/codes.h"

namespace caravan::train {

// In place of a path to codes: every item is one token, as in SASRec.
constexpr std::string_view kItemIds = "ids";

// From `path` (codes.json, index.json, a table), else codes.json of the data set's folder, else the codes in its
// catalogue. Throws not_found where there are none, corrupt_file where codes.json was made for other items.
items::ItemCodes read_item_codes(const data::Dataset& dataset, const std::string& folder, const std::string& path);

// Words beside the codes'.
struct ItemWords {
  bool items = false;  // of the items themselves, in their order
  int64_t users = 0;   // of users
};

// A tokenizer's files, name -> contents: tokenizer.json with a word for every code of every level, "<a_0>" ..., after
// <pad>, <bos>, <eos>, <unk>; then "<item:0>" ... and "<user:0>" ...; tokenizer_config.json and special_tokens_map.json
// say which words are which, for transformers.
std::map<std::string, std::string> item_tokenizer_files(const items::ItemCodes& codes, const ItemWords& words = {});
std::string item_word(int64_t item);    // "<item:7>"
std::string user_word(int64_t number);  // "<user:7>"

}  // namespace caravan::train
