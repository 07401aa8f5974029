// SASRec (Kang & McAuley 2018), self-attentive sequential recommendation: a causal transformer over item ids (one token
// an item) with learned positions, tied item embeddings and biases. Queries see the normed input, keys and values the
// plain one, and the residual stream goes on from the normed input, as in the authors' code; the attention's output
// projection is that of the common PyTorch version. Trained with next_token it is SASRec with the full softmax loss.
// Left out: the original's binary loss over one sampled negative.
#include <torch/torch.h>

#include <cmath>

#include "caravan/base/error.h"
#include "caravan/models/registry.h"
#include "caravan/models/stack_config.h"
#include "caravan/nn/layer_norm.h"

namespace caravan::models {
namespace {

struct SasRecConfig {
  int64_t vocab_size, hidden_size, layers, heads, intermediate_size, max_positions, padding_index;
  double eps, hidden_dropout, attention_dropout, embedding_dropout;
  ops::Activation activation;

  static SasRecConfig read(const Json& config, std::string_view where) {
    check_file(config.is_object(), FileFault::type, where, "an object is expected");
    const IntRange size{.min = 1, .max = 1 << 24};
    const int64_t width = get_int(config, "hidden_size", where, size);
    const SasRecConfig c{.vocab_size = get_int(config, "vocab_size", where, {.min = 1, .max = 1 << 26}),
                         .hidden_size = width,
                         .layers = get_int(config, "num_hidden_layers", where, {.min = 1, .max = 10000}, 2),
                         .heads = get_int(config, "num_attention_heads", where, size, 1),
                         .intermediate_size = get_int(config, "intermediate_size", where, size, width),
                         .max_positions = get_int(config, "max_position_embeddings", where, size, 64),
                         .padding_index = get_int(config, "pad_token_id", where, {.min = -1, .max = 1 << 26}, -1),
                         .eps = get_number(config, "layer_norm_eps", where, 1e-8),
                         .hidden_dropout = read_dropout(config, "hidden_dropout", where),
                         .attention_dropout = read_dropout(config, "attention_dropout", where),
                         .embedding_dropout = read_dropout(config, "embedding_dropout", where),
                         .activation = ops::find_activation(get_string(config, "hidden_act", where, "relu"), where)};
    check_file(width % c.heads == 0, FileFault::range, where, "hidden_size {} is not a multiple of {} heads", width,
               c.heads);
    return c;
  }
};

class SasRecAttention final : public nn::Layer<SasRecAttention> {
 public:
  SasRecAttention(const SasRecConfig& c, int64_t layer)
      : q_proj(c.hidden_size, c.hidden_size, true),
        k_proj(c.hidden_size, c.hidden_size, true),
        v_proj(c.hidden_size, c.hidden_size, true),
        o_proj(c.hidden_size, c.hidden_size, true),
        heads_(c.heads),
        layer_(layer),
        dropout_(c.attention_dropout) {
    add("q_proj", q_proj);
    add("k_proj", k_proj);
    add("v_proj", v_proj);
    add("o_proj", o_proj);
  }

  Tensor forward(const Tensor& queries, const Tensor& x, nn::Step& step) {  // both [T, C]
    const int64_t width = x.size(1) / heads_;
    const ops::AttentionSpec spec{
        .scale = 1.0 / std::sqrt(static_cast<double>(width)), .causal = true, .dropout = training() ? dropout_ : 0.0};
    const auto heads = [&](const Tensor& y) { return y.view({-1, heads_, width}); };  // [T, H, D]
    return o_proj(
        nn::attend(heads(q_proj(queries)), heads(k_proj(x)), heads(v_proj(x)), spec, layer_, step).flatten(1));
  }

  std::string_view kind() const override { return "SasRecAttention"; }
  nn::Linear q_proj, k_proj, v_proj, o_proj;

 private:
  int64_t heads_, layer_;
  double dropout_;
};

class SasRecMlp final : public nn::Layer<SasRecMlp> {
 public:
  explicit SasRecMlp(const SasRecConfig& c)
      : up_proj(c.hidden_size, c.intermediate_size, true),
        down_proj(c.intermediate_size, c.hidden_size, true),
        activation_(c.activation),
        dropout_(c.hidden_dropout) {
    add("up_proj", up_proj);
    add("down_proj", down_proj);
  }

  Tensor forward(const Tensor& x) {
    return down_proj(dropped(ops::activate(up_proj(x), activation_), training() ? dropout_ : 0.0));
  }

  std::string_view kind() const override { return "SasRecMlp"; }
  nn::Linear up_proj, down_proj;

 private:
  ops::Activation activation_;
  double dropout_;
};

class SasRecLayer final : public nn::Layer<SasRecLayer> {
 public:
  SasRecLayer(const SasRecConfig& c, int64_t index)
      : attention_layernorm(c.hidden_size, c.eps),
        mlp_layernorm(c.hidden_size, c.eps),
        self_attn(c, index),
        mlp(c),
        dropout_(c.hidden_dropout) {
    add("attention_layernorm", attention_layernorm);
    add("self_attn", self_attn);
    add("mlp_layernorm", mlp_layernorm);
    add("mlp", mlp);
  }

  Tensor forward(const Tensor& x, nn::Step& step) {  // x [T, C]
    const double dropout = training() ? dropout_ : 0.0;
    const Tensor q = attention_layernorm(x);
    const Tensor y = mlp_layernorm(q + dropped(self_attn(q, x, step), dropout));
    return y + dropped(mlp(y), dropout);
  }

  std::string_view kind() const override { return "SasRecLayer"; }
  nn::LayerNorm attention_layernorm, mlp_layernorm;
  SasRecAttention self_attn;
  SasRecMlp mlp;

 private:
  double dropout_;
};

class SasRecModel final : public Decoder {
 public:
  explicit SasRecModel(const SasRecConfig& c)
      : embed_tokens(c.vocab_size, c.hidden_size, c.padding_index < c.vocab_size ? c.padding_index : -1),
        embed_positions(c.max_positions, c.hidden_size),
        norm(c.hidden_size, c.eps),
        config_(c) {
    add("embed_tokens", embed_tokens);
    add("embed_positions", embed_positions);
    for (int64_t i = 0; i < c.layers; ++i) layers.emplace_back(c, i);
    add("layers", layers);
    add("norm", norm);
  }

  Tensor embed(const Tensor& ids) override {
    return embed_tokens(ids) * std::sqrt(static_cast<double>(config_.hidden_size));
  }

  Tensor forward(const Tensor& embeddings, nn::Step& step) override {
    // Positions beyond the table, which only a too long prompt has, share its last row.
    Tensor x = embeddings + embed_positions(step.positions.clamp_max(config_.max_positions - 1));
    if (training()) x = dropped(x, config_.embedding_dropout);
    x = norm(run_layers(layers, x, step, gradient_checkpointing && training(), /*narrows=*/false));
    if (step.capture != nullptr && step.capture->want_hidden_states) step.capture->hidden_states.push_back(x);
    return x;
  }

  nn::Embedding& input_embedding() override { return embed_tokens; }
  nn::CacheShape cache_shape() const override {
    return {.layers = config_.layers, .kv_heads = config_.heads, .head_dim = config_.hidden_size / config_.heads};
  }
  std::string_view kind() const override { return "SasRecModel"; }

  nn::Embedding embed_tokens, embed_positions;
  nn::ModuleList<SasRecLayer> layers;
  nn::LayerNorm norm;

 private:
  SasRecConfig config_;
};

std::unique_ptr<Decoder> make(const Json& config, std::string_view where) {
  return std::make_unique<SasRecModel>(SasRecConfig::read(config, where));
}

Json tiny_config() {
  return Json::parse(R"({"model_type": "sasrec", "vocab_size": 97, "hidden_size": 32, "intermediate_size": 56,
      "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 64, "tie_word_embeddings": true,
      "pad_token_id": 0})");
}

}  // namespace

const Family& sasrec_family() {
  static const Family family{.name = "sasrec", .class_prefix = "SasRec", .make = make, .tiny_config = tiny_config};
  return family;
}

}  // namespace caravan::models
