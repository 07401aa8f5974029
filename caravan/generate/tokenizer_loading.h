// A checkpoint's tokenizer and chat template, wherever its format keeps them.
//
//   auto checkpoint = formats::Checkpoint::open(path);
//   std::optional<text::Tokenizer> tokenizer = load_tokenizer(*checkpoint);
//
// Tokenizer, first match: tokenizer.json; the vocabulary inside a GGUF; tokenizer.model (SentencePiece, or the rank
// file of LLaMA 3 in Meta's layout). Chat template: chat_template.jinja, then tokenizer_config.json's chat_template (a
// string, or a list of named ones: "default"); GGUF metadata appears as the latter.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "caravan/formats/checkpoint.h"
#include "caravan/generate/config.h"
#include "caravan/text/chat_template.h"
#include "caravan/text/tokenizer.h"

namespace caravan::formats {
class GgufFile;
}

namespace caravan::generate {

std::optional<text::Tokenizer> load_tokenizer(const formats::Checkpoint& checkpoint);

// The vocabulary of a GGUF as the tokenizer wants it. Throws corrupt_file for a vocabulary that contradicts itself.
text::GgufVocabulary read_gguf_vocabulary(const formats::GgufFile& file);

std::optional<text::ChatTemplate> load_chat_template(const formats::Checkpoint& checkpoint);

// bos_token, eos_token, ... of tokenizer_config.json (or special_tokens_map.json): variables of the chat template.
Json special_tokens(const formats::Checkpoint& checkpoint);

// generation_config.json; without one, the generation options (eos_token_id ...) that config.json holds. As in
// transformers, a generation_config.json that names no eos_token_id means that none ends a sequence.
GenerationConfig load_generation_config(const formats::Checkpoint& checkpoint);

// The tokenizer.json of a rank file: base64 token and rank a line, LLaMA 3's pattern and special tokens.
std::string tokenizer_json_of_ranks(std::string_view ranks, std::string_view where);

}  // namespace caravan::generate
