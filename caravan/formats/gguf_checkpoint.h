// A GGUF file as a Hugging Face checkpoint: names, row order of q and k, config.json.
//
//   auto checkpoint = Checkpoint::open("SmolLM2.Q4_1.gguf");
//   if (const GgufFile* file = gguf_file(*checkpoint)) build_tokenizer(file->get_strings("tokenizer.ggml.tokens"),
//   ...);
//
// Tensors keep their storage type: block-quantized weights are block-quantized here. Architectures that gguf_names.cc
// does not list open as well (to look at, or for their vocabulary) with GGUF's own names.
#pragma once

#include <memory>

#include "caravan/formats/checkpoint.h"
#include "caravan/formats/format.h"
#include "caravan/formats/gguf.h"

namespace caravan::formats {

// A file that begins with "GGUF", or a folder with one .gguf file (or the parts of one split file).
bool looks_like_gguf(const Location& at);
std::unique_ptr<Checkpoint> open_gguf(const Location& at);

// The file behind a checkpoint, with its raw metadata; nullptr for another format.
const GgufFile* gguf_file(const Checkpoint& checkpoint);

}  // namespace caravan::formats
