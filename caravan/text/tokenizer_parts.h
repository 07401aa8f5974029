// The parts of a tokenizer, for readers of other formats (SentencePiece, GGUF) and trainers: build these, get a
// Tokenizer.
//
//   TokenizerParts parts;
//   parts.model = std::make_unique<BpeModel>(std::move(vocabulary), std::move(merges), Json{{"type", "BPE"}}, path);
//   parts.pre_tokenizer = Json{{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}};
//   Tokenizer tokenizer = Tokenizer::from_parts(std::move(parts), path);
//
// Everything but the model is the JSON that tokenizer.json holds for it (null: none), so to_json() needs no second
// path.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "caravan/base/json.h"
#include "caravan/text/added_tokens.h"
#include "caravan/text/model.h"
#include "caravan/text/tokenizer.h"

namespace caravan::text {

struct TokenizerParts {
  std::unique_ptr<Model> model;
  Json normalizer, pre_tokenizer, post_processor, decoder;
  std::vector<AddedToken> added_tokens;  // those that the model does not know get the next free ids, in this order
  std::optional<Truncation> truncation;
  std::optional<Padding> padding;
  std::vector<std::string> warnings;  // oddities of the file that are no errors
  Json other = Json::object();        // members of the file that nobody reads, kept for to_json()
};

// tokenizer.json, and the forms of its smaller members.
TokenizerParts parse_tokenizer_json(std::string_view json, std::string_view where);
Json truncation_json(const std::optional<Truncation>& truncation);
Json padding_json(const std::optional<Padding>& padding);

}  // namespace caravan::text
