// The vocabulary section of a GGUF (tokenizer.ggml.*): checks, special ids, and the small Hugging Face files made of
// it.
//
//   check_gguf_vocabulary(*file);                            // lengths agree, ids lie inside
//   auto tokens = file->get_strings("tokenizer.ggml.tokens");
//   std::optional<int64_t> bos = gguf_special_id(*file, "bos");
//
// A tokenizer is built above this folder, from the raw fields: model, pre, tokens, scores, token_type, merges,
// precompiled_charsmap, add_bos_token ..., read with GgufFile's typed access once the checks have passed.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "caravan/formats/gguf.h"
#include "caravan/formats/writer.h"

namespace caravan::formats {

// tokens are strings; scores floats and token_type integers, as many as tokens; merges strings; special ids inside.
// A file without a vocabulary passes. Throws corrupt_file (type, range).
void check_gguf_vocabulary(const GgufFile& file);

// kind: "bos", "eos", "unk", "pad", "sep", "cls", "mask", "eot", "eom".
std::optional<int64_t> gguf_special_id(const GgufFile& file, std::string_view kind);

// Every tokenizer.* field, for WriteOptions::gguf_metadata: a GGUF made of a GGUF keeps its vocabulary as it is.
std::vector<std::pair<std::string, GgufValue>> gguf_tokenizer_fields(const GgufFile& file);

// Contents of generation_config.json, tokenizer_config.json and special_tokens_map.json; empty where nothing is known.
Json gguf_generation_config(const GgufFile& file);
Json gguf_tokenizer_config(const GgufFile& file);
Json gguf_special_tokens(const GgufFile& file);

}  // namespace caravan::formats
