// Qwen2 and Qwen2.5 (Yang et al. 2024): LLaMA with biases on q, k and v, and a sliding window on the upper layers by
// option. Left out: the mixture-of-experts and vision variants.
#include <torch/torch.h>

#include "caravan/models/registry.h"
#include "caravan/models/stack_config.h"

namespace caravan::models {
namespace {

std::unique_ptr<Decoder> make(const Json& config, std::string_view where) {
  LlamaStyleConfig model =
      read_llama_style(config, {{"num_key_value_heads", 32}, {"max_position_embeddings", 32768}}, where);
  for (nn::DecoderLayerConfig& layer : model.layers) layer.attention.qkv_bias = true;
  set_qwen_windows(model, config, where);
  return std::make_unique<LlamaStyleModel>(model.stack, model.layers);
}

Json tiny_config() {
  return Json::parse(R"({"model_type": "qwen2", "vocab_size": 97, "hidden_size": 32, "intermediate_size": 56,
      "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-6,
      "use_sliding_window": true, "sliding_window": 6, "max_window_layers": 1, "max_position_embeddings": 256,
      "tie_word_embeddings": true, "pad_token_id": 0})");
}

}  // namespace

const Family& qwen2_family() {
  static const Family family{.name = "qwen2",
                             .class_prefix = "Qwen2",
                             .question_answering_prefix = "transformer",
                             .make = make,
                             .tiny_config = tiny_config};
  return family;
}

}  // namespace caravan::models
