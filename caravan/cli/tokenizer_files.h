// A tokenizer in the form that the target of a conversion needs: GGUF metadata (tokenizer.ggml.*) made from a folder's
// tokenizer.json or tokenizer.model, and a folder's files made from a GGUF's vocabulary.
//
//   write.gguf_metadata = gguf_tokenizer_metadata(*checkpoint, warn);    // folder -> GGUF
//   write.side_files = tokenizer_files(*checkpoint, warn);               // GGUF -> folder
//
// Source: llama.cpp's convert_hf_to_gguf.py and llama-vocab.cpp. Left out: word-level vocabularies; such a conversion
// goes on without a tokenizer. What gets lost is told to `warn`, a line each.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "caravan/formats/checkpoint.h"
#include "caravan/formats/writer.h"

namespace caravan::cli {

using GgufMetadata = std::vector<std::pair<std::string, formats::GgufValue>>;

using Warn = std::function<void(const std::string&)>;

GgufMetadata gguf_tokenizer_metadata(const formats::Checkpoint& from, const Warn& warn);

// llama.cpp's name of a byte-level pre-tokenizer (tokenizer.json's "pre_tokenizer"); "default" where it has none.
std::string gguf_pre_name(const Json& pre_tokenizer);

std::map<std::string, std::string> tokenizer_files(const formats::Checkpoint& from, const Warn& warn);

}  // namespace caravan::cli
