#include "caravan/nn/decoder_layer.h"

#include <torch/torch.h>

namespace caravan::nn {

DecoderLayer::DecoderLayer(const DecoderLayerConfig& config, int64_t index)
    : self_attn(config.attention, index),
      mlp(config.attention.hidden_size, config.intermediate_size, config.activation, config.mlp_bias),
      input_layernorm(config.attention.hidden_size, config.norm_eps),
      post_attention_layernorm(config.attention.hidden_size, config.norm_eps),
      dropout_(config.dropout) {
  add("self_attn", self_attn);
  add("mlp", mlp);
  add("input_layernorm", input_layernorm);
  add("post_attention_layernorm", post_attention_layernorm);
}

Tensor DecoderLayer::dropped(const Tensor& x) const {
  return training() && dropout_ > 0 ? at::dropout(x, dropout_, /*train=*/true) : x;
}

Tensor DecoderLayer::forward(Tensor x, Step& step) {  // x [T, C]
  const Tensor attended = self_attn(input_layernorm(x), step);
  if (step.narrow && step.tree != nullptr) {  // attention has left the other rows out
    x = x.index_select(0, step.output_index());
    step.narrowed = true;
  }
  x = x + dropped(attended);
  return x + dropped(mlp(post_attention_layernorm(x)));
}

}  // namespace caravan::nn
