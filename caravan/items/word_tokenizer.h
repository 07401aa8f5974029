// The tokenizer.json of a recommender whose words are codes, items and users: "<a_101>", "<item:7>", "<user:3>".
//
//   Json json = word_tokenizer({.special = {"<pad>", "<unk>"}, .words = {"<a_0>", "<a_1>"}, .unknown = "<unk>"});
//
// A WordLevel model behind white space, which separates and goes. Ids are places: the special tokens in their order,
// then the words. No post-processor.
#pragma once

#include <string>
#include <vector>

#include "caravan/base/json.h"

namespace caravan::items {

struct Words {
  std::vector<std::string> special, words;  // all of them different
  std::string unknown;                      // one of the special tokens: what any other text is
  bool apart = true;                        // a Split: a code, an item or a user stands alone whatever is beside it
};

Json word_tokenizer(const Words& words);

}  // namespace caravan::items
