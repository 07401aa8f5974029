// Appends item codes to a language model's vocabulary: the model becomes a recommender that still knows its language.
//
//   extend_vocabulary("SmolLM2-135M", read_codes("beauty/codes.json"), "smollm2-beauty", {.seed = 1});
//
// The words "<a_101>" become added tokens of tokenizer.json with the ids behind all others; embedding and head (one
// tensor where tied) get their rows: mean of the existing rows plus normal noise with their standard deviation in each
// dimension, times `spread`. All other tensors stay as they are, bit for bit. transformers loads the result. A
// checkpoint whose tokenizer is inside a GGUF is converted first (`caravan convert`).
#pragma once

#include <map>
#include <string>

#include "caravan/formats/checkpoint.h"
#include "caravan/items/codes.h"

namespace caravan::codes {

struct ExtensionOptions {
  double spread = 1.0;  // 0: all new rows are the mean
  uint64_t seed = 0;
  std::map<std::string, std::string> side_files;  // written beside the model: items.jsonl, codes.json ...
  Json config = Json::object();                   // keys set in config.json
};

struct Extension {
  int64_t first_id = 0, added = 0;  // the new words' ids
  int64_t old_rows = 0, rows = 0;   // of the embedding
};

// tokenizer.json with these words behind its last id; words that it has already keep their id. `ids` receives an id for
// each word.
std::string add_words(const std::string& tokenizer_json, const std::vector<std::string>& words,
                      std::vector<int64_t>& ids, std::string_view where);

// Throws not_found (no tokenizer.json), invalid_argument, and what loading and saving throw.
Extension extend_vocabulary(const formats::Checkpoint& checkpoint, const items::ItemCodes& codes,
                            const std::string& output, const ExtensionOptions& options = {});

}  // namespace caravan::codes
