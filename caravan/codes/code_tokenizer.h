// The tokenizer of a LLaMA-Rec model, whose words are item codes: "<a_101> <b_42> <c_999>".
//
//   CodeTokenizer t = create_rq_code_tokenizer(lines_of_dataset, {.max_length = 512});
//   write_code_tokenizer(t, "model");          // tokenizer.json, tokenizer_config.json, special_tokens_map.json
//
// From text: exactly LLaMA-Rec's create_rq_code_tokenizer. The words are what single spaces separate, whatever they are
// and however deep a sequence is; ids are the special tokens, then the words in the order of their characters (<a_10>
// before <a_9>). White space separates words when text is encoded; a word that the dataset did not have is the unknown
// token. From item codes: the words of whole codebooks by level and number, and codes side by side are words of their
// own. Hugging Face `tokenizers` and PreTrainedTokenizerFast load the files with the same ids (a WordLevel model).
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
  std::string pad = "[PAD]", unknown = "[UNK]", bos = "[BOS]", eos = "[EOS]";  // ids 0 to 3; an empty one: none
  std::vector<std::string> more_special;  // user tokens, separators ...: ids behind the four
  bool add_bos = false, add_eos = false;  // around every encoded text
  int64_t max_length = 512;               // model_max_length; longer texts are truncated by transformers
  bool whole_codebooks = false;           // every code below a level's largest gets a word, seen or not
};

struct CodeTokenizer {
  text::Tokenizer tokenizer;
  std::map<std::string, std::string> files;  // file name -> contents
};

// texts: a dataset's, each a sequence such as "<a_101> <b_42>". invalid_argument where they hold no word, and for
// options that contradict each other.
CodeTokenizer create_rq_code_tokenizer(std::span<const std::string> texts, const CodeTokenizerOptions& options = {});

// All words of these codebooks: what a dataset with item codes needs. Special tokens: <pad>, <unk>, <s>, </s>.
CodeTokenizer create_rq_code_tokenizer(const items::ItemCodes& codes, int64_t max_length = 512);

void write_code_tokenizer(const CodeTokenizer& tokenizer, const std::string& folder);

}  // namespace caravan::codes
