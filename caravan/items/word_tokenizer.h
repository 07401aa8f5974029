// The tokenizer.json of a recommender whose words are codes, items and users: "<a_101>", "<item:7>", "<user:3>".
//
//   Json json = word_tokenizer({.special = {"<pad>", "<unk>"}, .words = {"<a_0>", "<a_1>"}, .unknown = "<unk>"});
//
// A WordLevel model behind white space, which separates and goes. Ids are places: the special tokens in their order,
// then the words. No post-processor.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "caravan/base/json.h"
#include "caravan/items/codes.h"

namespace caravan::items {

struct Words {
  std::vector<std::string> special, words;  // all of them different
  std::string unknown;                      // one of the special tokens: what any other text is
  bool apart = true;                        // a Split: a code, an item or a user stands alone whatever is beside it
};

Json word_tokenizer(const Words& words);

// The words of whole codebooks by level and number: "<a_0>", "<a_1>" ... "<b_0>" ...
std::vector<std::string> code_words(const ItemCodes& codes);

// tokenizer_config.json and special_tokens_map.json, name -> contents: what transformers wants to know beside
// tokenizer.json. `named`: role -> token, {"bos_token": "<s>"}.
std::map<std::string, std::string> tokenizer_companions(const Json& named,
                                                        std::optional<int64_t> max_length = std::nullopt);

}  // namespace caravan::items
