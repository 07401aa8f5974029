// The pre-norm decoder layer of LLaMA and its relatives: attention and a gated MLP, each on the normed input and added
// to the residual stream.
#pragma once

#include "caravan/nn/attention.h"
#include "caravan/nn/mlp.h"
#include "caravan/nn/norm.h"

namespace caravan::nn {

struct DecoderLayerConfig {
  AttentionConfig attention;
  int64_t intermediate_size = 0;
  ops::Activation activation = ops::Activation::silu;
  bool mlp_bias = false;
  double dropout = 0.0;  // of what attention and MLP add to the residual stream, in training
  double norm_eps = 1e-6;
};

class DecoderLayer final : public Layer<DecoderLayer> {
 public:
  DecoderLayer(const DecoderLayerConfig& config, int64_t index);
  Tensor forward(Tensor x, Step& step);  // [T, C]
  std::string_view kind() const override { return "DecoderLayer"; }

  Attention self_attn;
  GatedMlp mlp;
  RmsNorm input_layernorm, post_attention_layernorm;

 private:
  Tensor dropped(const Tensor& x) const;
  double dropout_;
};

}  // namespace caravan::nn
