// Mistral 7B (Jiang et al. 2023): LLaMA with a sliding window on every layer. Left out: Mixtral's experts.
#include <torch/torch.h>

#include "caravan/models/registry.h"
#include "caravan/models/stack_config.h"

namespace caravan::models {
namespace {

std::unique_ptr<Decoder> make(const Json& config, std::string_view where) {
  LlamaStyleConfig model = read_llama_style(config, {{"num_key_value_heads", 8}}, where);
  // A missing key means 4096, an explicit null no window: so transformers reads it.
  const bool is_null = config.contains("sliding_window") && config["sliding_window"].is_null();
  const int64_t window =
      is_null ? 0 : get_int(config, "sliding_window", where, {.min = 1, .max = int64_t{1} << 40}, 4096);
  for (nn::DecoderLayerConfig& layer : model.layers) layer.attention.sliding_window = window;
  return std::make_unique<LlamaStyleModel>(model.stack, model.layers);
}

Json tiny_config() {
  return Json::parse(R"({"model_type": "mistral", "vocab_size": 97, "hidden_size": 32, "intermediate_size": 56,
      "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "rms_norm_eps": 1e-5,
      "sliding_window": 6, "max_position_embeddings": 256, "tie_word_embeddings": false, "pad_token_id": 0})");
}

}  // namespace

const Family& mistral_family() {
  static const Family family{.name = "mistral", .class_prefix = "Mistral", .make = make, .tiny_config = tiny_config};
  return family;
}

}  // namespace caravan::models
