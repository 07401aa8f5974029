// Writes a GGUF (version 3) that llama.cpp loads and runs: one pass, tensor by tensor, atomic.
//
//   auto writer = CheckpointWriter::create("model.gguf", plan, config,
//                                          {.format = "gguf", .gguf_metadata = vocabulary_fields});
//
// Tensors keep their dtype, block-quantized ones included; one-dimensional tensors become f32, as llama.cpp wants them.
// Rows of q and k are put in llama.cpp's order for the families that it rotates pairwise. WriteOptions::side_files and
// max_shard_bytes do not apply: a GGUF is one file.
//
// The tokenizer comes from the caller in WriteOptions::gguf_metadata; a field given there replaces the one made from
// the config. llama.cpp needs, to load a model at all:
//   tokenizer.ggml.model          string   "gpt2" (byte-level BPE), "llama" (SentencePiece BPE), "t5" (unigram), "bert"
//   tokenizer.ggml.tokens         string[] one a row of the embedding; missing ones at the end are padded here
//   tokenizer.ggml.merges         string[] "gpt2" only: "left right", in order
//   tokenizer.ggml.scores         f32[]    "llama" and "t5" only: negative ranks or log probabilities
// and to give the same ids as Hugging Face:
//   tokenizer.ggml.pre            string   "gpt2" only: the pre-tokenizer's name, "smollm", "llama-bpe", "qwen2" ...
//   tokenizer.ggml.token_type     i32[]    1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte
//   tokenizer.ggml.bos_token_id, eos_token_id, unknown_token_id, padding_token_id, eot_token_id    u32
//   tokenizer.ggml.add_bos_token, add_eos_token, add_space_prefix    bool
//   tokenizer.ggml.precompiled_charsmap    u8[]   "t5" only
//   tokenizer.chat_template       string   Jinja
#pragma once

#include <memory>

#include "caravan/formats/writer.h"

namespace caravan::formats {

// Throws unsupported, with all names listed, for tensors that the architecture has no name for.
std::unique_ptr<CheckpointWriter> create_gguf(const std::string& path, std::vector<TensorInfo> plan, const Json& config,
                                              const WriteOptions& options);

}  // namespace caravan::formats
