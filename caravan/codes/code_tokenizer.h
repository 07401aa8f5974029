// The tokenizer of a LLaMA-Rec model, whose words are item codes: "<a_101> <b_42> <c_999>".
//
//   CodeTokenizer t = create_rq_code_tokenizer(lines_of_dataset, {.max_length = 512});
//   write_code_tokenizer(t, "model");          // tokenizer.json, tokenizer_config.json, special_tokens_map.json
//
// The words are collected from text: code words separated by white space or by nothing, sequences of any depth; other
// text in it is an error, so that a mistyped word is found here and not in a worse model. Ids: the special tokens in
// their order, then the words by level and code. A word that the text did not have is the unknown token. Hugging Face
// `tokenizers` and PreTrainedTokenizerFast load the files with the same ids (a WordLevel model behind a Split).
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/items/codes.h"
#include "caravan/text/tokenizer.h"

namespace caravan::codes {

struct CodeTokenizerOptions {
  std::string pad = "<pad>", unknown = "<unk>", bos = "<s>", eos = "</s>";
  std::vector<std::string> more_special;  // user tokens, separators ...: ids behind the four
  bool add_bos = false, add_eos = false;  // around every encoded text
  int64_t max_length = 512;               // model_max_length; longer texts are truncated by transformers
  bool whole_codebooks = false;           // every code below a level's largest gets a word, seen or not
};

struct CodeTokenizer {
  text::Tokenizer tokenizer;
  std::map<std::string, std::string> files;  // file name -> contents
};

// The words of a text, in order. invalid_argument where it holds anything but code words and white space.
std::vector<items::Code> parse_codes(std::string_view text, std::string_view where);

CodeTokenizer create_rq_code_tokenizer(std::span<const std::string> texts, const CodeTokenizerOptions& options = {});

// All words of these codebooks: what a dataset with item codes needs.
CodeTokenizer create_rq_code_tokenizer(const items::ItemCodes& codes, const CodeTokenizerOptions& options = {});

void write_code_tokenizer(const CodeTokenizer& tokenizer, const std::string& folder);

}  // namespace caravan::codes
