// LLaMA 1, 2 and 3 (Touvron et al. 2023; Grattafiori et al. 2024) and the checkpoints that share its config: LLaMA-Rec
// (item codes as words), Yi, SmolLM2. nn::DecoderLayer has the layer's equations. Left out: Llama 4's mixture of
// experts.
#include <torch/torch.h>

#include "caravan/models/registry.h"
#include "caravan/models/stack_config.h"

namespace caravan::models {
namespace {

std::unique_ptr<Decoder> make(const Json& config, std::string_view where) {
  LlamaStyleConfig model = read_llama_style(config, Json::object(), where);
  const bool attention_bias = get_bool(config, "attention_bias", where, false);
  const bool mlp_bias = get_bool(config, "mlp_bias", where, false);
  for (nn::DecoderLayerConfig& layer : model.layers) {
    layer.attention.qkv_bias = layer.attention.output_bias = attention_bias;
    layer.mlp_bias = mlp_bias;
  }
  return std::make_unique<LlamaStyleModel>(model.stack, model.layers);
}

Json tiny_config() {
  return Json::parse(R"({"model_type": "llama", "vocab_size": 97, "hidden_size": 32, "intermediate_size": 56,
      "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5,
      "max_position_embeddings": 256, "rope_theta": 10000.0, "tie_word_embeddings": false, "pad_token_id": 0})");
}

}  // namespace

const Family& llama_family() {
  static const Family family{.name = "llama",
                             .aliases = {"llama-rec"},
                             .class_prefix = "Llama",
                             .question_answering_prefix = "transformer",
                             .make = make,
                             .tiny_config = tiny_config};
  return family;
}

}  // namespace caravan::models
