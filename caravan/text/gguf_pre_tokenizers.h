// What tokenizer.ggml.pre of a GGUF says: how text is cut before byte-level BPE, and llama.cpp's defaults that go with
// it.
//
//   GgufPreTokenizer p = find_gguf_pre_tokenizer("smollm", path);   // p.pre_tokenizer is JSON as in tokenizer.json
#pragma once

#include <string_view>

#include "caravan/base/json.h"

namespace caravan::text {

struct GgufPreTokenizer {
  Json normalizer, pre_tokenizer;
  bool byte_level = true;      // false: tokens are plain text with U+2581 for spaces
  bool ignore_merges = false;  // a word that is a token is that token
  bool add_bos = false, add_separator = false;
};

GgufPreTokenizer find_gguf_pre_tokenizer(std::string_view name, std::string_view where);  // throws fault unsupported

}  // namespace caravan::text
