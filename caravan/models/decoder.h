// What every decoder-only backbone offers to the heads, the generation engine and the loaders.
//
//   std::unique_ptr<Decoder> model = make_decoder(config);          // by config["model_type"]
//   nn::Step step = nn::Step::packed(lengths);
//   Tensor hidden = (*model)(model->embed(ids), step);              // [T, C], normed
//
// DecoderStack<Layer> is the usual backbone: embeddings, layers, final norm, rotary tables. A family brings its Layer.
#pragma once

#include <ATen/core/grad_mode.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/base/json.h"
#include "caravan/nn/fused_decode.h"
#include "caravan/nn/kv_cache.h"
#include "caravan/nn/linear.h"
#include "caravan/nn/norm.h"
#include "caravan/nn/rotary.h"
#include "caravan/nn/step.h"

namespace caravan::models {

using at::Tensor;

class Decoder : public nn::Layer<Decoder> {
 public:
  virtual Tensor embed(const Tensor& ids) = 0;                           // int64 [T] -> [T, C]
  virtual Tensor forward(const Tensor& embeddings, nn::Step& step) = 0;  // [T, C] -> [T, C] after the final norm
  virtual nn::Embedding& input_embedding() = 0;
  virtual nn::CacheShape cache_shape() const = 0;
  int64_t hidden_size() { return input_embedding().weight.shape[1]; }
  int64_t vocab_size() { return input_embedding().weight.shape[0]; }

  // Recomputes each layer in the backward pass instead of keeping its activations (training only).
  bool gradient_checkpointing = false;
};

struct StackConfig {
  int64_t vocab_size = 0, hidden_size = 0;
  int64_t padding_index = -1;  // pad_token_id: its embedding learns nothing
  double rms_norm_eps = 1e-6;
  double embedding_dropout = 0.0;  // in training
  nn::CacheShape cache;
  nn::RotaryConfig rotary;
};

// Runs one layer of a stack, under gradient checkpointing where it is on.
Tensor run_layer(const std::function<Tensor(const Tensor&)>& layer, const Tensor& x, bool checkpoint);

Tensor dropped(const Tensor& x, double dropout);  // each value with this probability set to 0, the others scaled up

// x [T, C] through all layers, with hidden states captured where asked and gradient checkpointing where `recompute`.
// `narrows`: the layers heed Step::narrow, and the last one may leave out rows that nobody asked for.
template <class Layer>
Tensor run_layers(nn::ModuleList<Layer>& layers, Tensor x, nn::Step& step, bool recompute, bool narrows) {
  nn::Capture* capture = step.capture;
  recompute = recompute && at::GradMode::is_enabled();
  // The backward pass, which runs the layers again, may come when the caller's step is gone.
  const std::shared_ptr<nn::Step> kept = recompute ? std::make_shared<nn::Step>(step) : nullptr;
  if (recompute) kept->capture = nullptr;
  for (auto& layer : layers) {
    step.narrow = narrows && layer == *(layers.end() - 1) && !step.output_rows.empty();
    if (capture != nullptr && capture->want_hidden_states) capture->hidden_states.push_back(x);
    const auto run = [&layer, &step, kept](const Tensor& y) {
      return (*layer)(y, kept != nullptr && at::GradMode::is_enabled() ? *kept : step);
    };
    x = run_layer(run, x, recompute);
  }
  return x;
}

template <class DecoderLayer>
class DecoderStack final : public Decoder {
 public:
  // One config a layer, in order: DecoderLayer(config, index).
  template <class LayerConfig>
  DecoderStack(const StackConfig& config, const std::vector<LayerConfig>& layer_configs)
      : embed_tokens(config.vocab_size, config.hidden_size, config.padding_index),
        norm(config.hidden_size, config.rms_norm_eps),
        rotary_emb(config.rotary),
        config_(config) {
    add("embed_tokens", embed_tokens);
    for (size_t i = 0; i < layer_configs.size(); ++i) layers.emplace_back(layer_configs[i], static_cast<int64_t>(i));
    add("layers", layers);
    add("norm", norm);
    add("rotary_emb", rotary_emb);
  }

  Tensor embed(const Tensor& ids) override { return embed_tokens(ids); }

  Tensor forward(const Tensor& embeddings, nn::Step& step) override {
    Tensor x = training() ? dropped(embeddings, config_.embedding_dropout) : embeddings;  // [T, C]
    rotary_emb.prepare(step, x.scalar_type());
    const Tensor fused = nn::decode_fused(layers, x, step);
    x = norm(fused.defined() ? fused : run_layers(layers, x, step, gradient_checkpointing && training(), true));
    if (step.capture != nullptr && step.capture->want_hidden_states) step.capture->hidden_states.push_back(x);
    return x;
  }

  nn::Embedding& input_embedding() override { return embed_tokens; }
  nn::CacheShape cache_shape() const override { return config_.cache; }
  std::string_view kind() const override { return "DecoderStack"; }

  nn::Embedding embed_tokens;
  nn::ModuleList<DecoderLayer> layers;
  nn::RmsNorm norm;
  nn::RotaryEmbedding rotary_emb;

 private:
  StackConfig config_;
};

}  // namespace caravan::models
