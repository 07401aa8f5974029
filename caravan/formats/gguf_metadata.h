// GGUF's metadata and extra tensors, made from config.json: the inverse of gguf_config.h.
//
//   GgufModel model = gguf_model(config, plan);
//   for (const auto& [key, value] : model.fields) encoder.field(key, value);
//
// Reads both spellings of transformers 4 (rope_theta, rope_scaling) and 5 (rope_parameters). What llama.cpp cannot
// compute is refused (unsupported): dynamic rotary scaling, partial rotary, activations other than silu.
// Source: llama.cpp's conversion/{base,llama,qwen}.py.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "caravan/formats/gguf_names.h"
#include "caravan/formats/writer.h"

namespace caravan::formats {

struct GgufExtraTensor {
  std::string name;
  std::vector<float> values;
};

struct GgufModel {
  const GgufArchitecture* architecture = nullptr;
  int64_t heads = 0, kv_heads = 0;
  std::vector<std::pair<std::string, GgufValue>> fields;  // general.*, ARCHITECTURE.*
  std::vector<GgufExtraTensor> extra_tensors;             // rope_freqs.weight, rope_factors_{short,long}.weight
};

// `plan` tells what general.file_type says. Throws unsupported for a model_type that is not in gguf_names.cc.
GgufModel gguf_model(const Json& config, std::span<const TensorInfo> plan);

}  // namespace caravan::formats
