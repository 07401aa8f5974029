// Meta's own layout of LLaMA (and Mistral's, which is the same): params.json beside consolidated.00.pth, .01.pth, ...
//
// Source: meta-llama/llama model.py (names, model-parallel split, rotary pairs) and transformers'
// convert_llama_weights_to_hf.py (the way back). Presented as Hugging Face's names and shapes: shards are put together
// tensor by tensor, q and k rows go from interleaved to half-split rotary order, rope.freqs is dropped, config.json is
// made from params.json. Left out: mixtures of experts and multimodal checkpoints (a clear error).
//
//   auto checkpoint = Checkpoint::open("llama-2-13b/");                          // a folder with params.json
//   checkpoint->read("model.layers.0.self_attn.q_proj.weight");                  // rows of both shards, reordered
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "caravan/formats/checkpoint.h"
#include "caravan/formats/format.h"

namespace caravan::formats {

bool looks_like_meta(const Location& at);
std::unique_ptr<Checkpoint> open_meta(const Location& at);

// params.json and the shapes that it leaves open -> config.json.
struct MetaParams {
  int64_t dim, layers, heads, kv_heads, head_dim;
  Json json;
};
MetaParams read_meta_params(const std::string& path);
Json make_meta_config(const MetaParams& params, int64_t vocab_size, int64_t intermediate_size, bool tied, DType dtype);

}  // namespace caravan::formats
