// Qwen3 (Yang et al. 2025): LLaMA with RMS-normed query and key heads, biases by option, an explicit head width, and a
// sliding window on the upper layers by option. Left out: the mixture-of-experts variant.
#include <torch/torch.h>

#include "caravan/models/registry.h"
#include "caravan/models/stack_config.h"

namespace caravan::models {
namespace {

std::unique_ptr<Decoder> make(const Json& config, std::string_view where) {
  LlamaStyleConfig model = read_llama_style(
      config, {{"num_key_value_heads", 32}, {"head_dim", 128}, {"max_position_embeddings", 32768}}, where);
  const bool attention_bias = get_bool(config, "attention_bias", where, false);
  for (nn::DecoderLayerConfig& layer : model.layers) {
    layer.attention.qkv_bias = layer.attention.output_bias = attention_bias;
    layer.attention.qk_norm_eps = layer.norm_eps;
  }
  set_qwen_windows(model, config, where);
  return std::make_unique<LlamaStyleModel>(model.stack, model.layers);
}

Json tiny_config() {
  return Json::parse(R"({"model_type": "qwen3", "vocab_size": 97, "hidden_size": 32, "intermediate_size": 56,
      "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "rms_norm_eps": 1e-6,
      "max_position_embeddings": 256, "tie_word_embeddings": true, "pad_token_id": 0})");
}

}  // namespace

const Family& qwen3_family() {
  static const Family family{.name = "qwen3",
                             .class_prefix = "Qwen3",
                             .question_answering_prefix = "transformer",
                             .make = make,
                             .tiny_config = tiny_config};
  return family;
}

}  // namespace caravan::models
