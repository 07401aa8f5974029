// Self-attention over a ragged batch: grouped-query heads, rotary positions, optional q/k normalization, biases,
// sliding window. softmax(q k^T / sqrt(D) + mask) v per head; K key-value heads serve H query heads (Ainslie et al.
// 2023).
#pragma once

#include <cmath>
#include <memory>
#include <optional>

#include "caravan/nn/linear.h"
#include "caravan/nn/norm.h"
#include "caravan/nn/step.h"
#include "caravan/ops/attention.h"

namespace caravan::nn {

struct AttentionConfig {
  int64_t hidden_size = 0, num_heads = 0, num_kv_heads = 0, head_dim = 0;
  bool qkv_bias = false, output_bias = false;
  int64_t sliding_window = 0;         // 0: none; else a token sees this many tokens, itself included
  std::optional<double> qk_norm_eps;  // RMS norm of each query and key head before the rotation (Qwen3)
  double dropout = 0.0;
};

class Attention final : public Layer<Attention> {
 public:
  Attention(const AttentionConfig& config, int64_t layer);
  Tensor forward(const Tensor& x, Step& step);  // [T, C]
  std::string_view kind() const override { return "Attention"; }
  const AttentionConfig& config() const { return config_; }
  int64_t layer() const { return layer_; }

  Linear q_proj, k_proj, v_proj, o_proj;
  std::optional<RmsNorm> q_norm, k_norm;

 private:
  AttentionConfig config_;
  int64_t layer_;
};

// The attention of one layer for a step: stores the new keys and values in the step's cache where there is one, attends
// over everything the sequences hold, captures the weights where asked. q [T, H, D], k and v [T, K, D] -> [T, H, D].
Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, const ops::AttentionSpec& spec, int64_t layer,
              Step& step);

}  // namespace caravan::nn
