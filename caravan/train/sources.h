// Examples for next-token training, from files.
//
//   TokenFileOptions options{.encode = [&](std::string_view text) { return ids_of(text); }, .vocabulary = 49152};
//   auto examples = read_token_file("train.jsonl", options);
//
//   auto examples = item_sequences(dataset, tokens, format);           // users' histories as code tokens
//   auto examples = next_item_examples(dataset, tokens, format, 1000); // validation: the item after the history
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/data/dataset.h"
#include "caravan/items/prompt.h"
#include "caravan/train/batch.h"

namespace caravan::train {

struct TokenFileOptions {
  std::function<std::vector<int32_t>(std::string_view text)> encode = {};  // none: lines must hold ids
  int64_t vocabulary = 0;                                                  // ids lie in [0, vocabulary)
  int64_t max_length = 1024;                                               // longer ones are cut into pieces
  int64_t limit = 0;                                                       // examples; 0: all
};

// A line is {"text": "..."}, {"ids": [...]} or {"ids": [...], "learned": [0, 1, ...]} ("input_ids" means "ids"; with
// "labels", a label of -100 marks a token that is not learned). Empty lines are skipped. Throws corrupt_file with the
// line's number.
std::shared_ptr<TokenExamples> read_token_file(const std::string& path, const TokenFileOptions& options);

using ItemTokens = std::vector<std::vector<int32_t>>;  // of every item, in the catalogue's order

// One pass over a user's training history learns every item in it. A history longer than the format's max_items becomes
// windows that overlap by half; an item is learned once, with at least half a window of context before it. With the
// format's prefix every item is an example of its own, after the history before it.
std::shared_ptr<TokenExamples> item_sequences(const data::Dataset& dataset, const ItemTokens& tokens,
                                              const items::PromptFormat& format);

// The validation target after its history; only the target's tokens count. Of `limit` users (0: all), drawn by a fixed
// seed.
std::shared_ptr<TokenExamples> next_item_examples(const data::Dataset& dataset, const ItemTokens& tokens,
                                                  const items::PromptFormat& format, int64_t limit);

}  // namespace caravan::train
