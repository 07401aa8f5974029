// Pre-tokenizers of tokenizer.json: Sequence, Split, ByteLevel, Metaspace, Whitespace, WhitespaceSplit, Punctuation,
// BertPreTokenizer, Digits, CharDelimiterSplit, UnicodeScripts, FixedLength.
//
//   auto pre_tokenizer = make_pre_tokenizer(json["pre_tokenizer"], "tokenizer.json");
//   pre_tokenizer->apply(pieces);
#pragma once

#include <memory>
#include <string_view>

#include "caravan/base/json.h"
#include "caravan/text/pieces.h"

namespace caravan::text {

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void apply(Pieces& pieces) const = 0;
  // True where a ByteLevel comes last and from now on leaves the text alone: the model then gets raw bytes.
  virtual bool defer_byte_level() { return false; }
  // Whether the result depends on where a piece starts in the input, which only the tracked path knows.
  virtual bool needs_origin() const { return false; }
};

// Throws fault unsupported for an unknown type, json or type for a malformed member. Null gives nullptr.
std::unique_ptr<PreTokenizer> make_pre_tokenizer(const Json& json, std::string_view where, int depth = 0);

}  // namespace caravan::text
