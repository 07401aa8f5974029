// config.json and the small files of a Hugging Face folder, made from a GGUF's metadata.
//
//   Json config = gguf_config(*file, find_gguf_architecture(file->get_string("general.architecture")));
//
// Keys are those of transformers' LlamaConfig and its relatives (rope_theta and rope_scaling, torch_dtype). Numbers are
// the stored ones: an eps of 1e-5 in float32 reads 9.999999747378752e-06, as transformers' own GGUF loader has it.
// Left out: architectures without a line in gguf_names.cc get model_type, vocab_size and the special ids only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "caravan/formats/gguf.h"
#include "caravan/formats/gguf_names.h"

namespace caravan::formats {

struct GgufHeads {
  int64_t heads = 0, kv_heads = 0;  // 0 where the file does not say (a vocabulary without a model)
  int64_t head_dim = 0;
};

// Checks ranges: at least one head, kv_heads divides heads, all of a head is rotated.
GgufHeads gguf_heads(const GgufFile& file, const GgufArchitecture& architecture);

// `architecture` may be nullptr for one that is not in the list.
Json gguf_config(const GgufFile& file, const GgufArchitecture* architecture);

// "generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"; empty for other
// names and where the metadata has nothing to put there.
std::string gguf_side_file(const GgufFile& file, std::string_view name);

// Tensors that hold rotary factors rather than parameters.
bool is_gguf_rope_tensor(std::string_view name);

}  // namespace caravan::formats
