// A model family of one's own, in one file, on an installed Caravan: its own attention and its own MLP, registered
// under a model_type; trained for some steps on one sentence, saved, loaded again, and asked to continue the sentence.
//
// The attention lets each head be silenced by its input (a sigmoid gate on its output, as in "gated attention", Qiu et
// al. 2025). The MLP is Primer's: relu(x W)^2, without a gate (So et al. 2021). Everything else is LLaMA's.
#include <torch/optim.h>

#include <cmath>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>
#include <vector>

#include "caravan/base/error.h"
#include "caravan/generate/engine.h"
#include "caravan/models/load.h"
#include "caravan/models/registry.h"
#include "caravan/models/stack_config.h"
#include "caravan/nn/attention.h"
#include "caravan/ops/activation.h"
#include "caravan/ops/rotary.h"

namespace {

using namespace caravan;  // NOLINT: a program, not a header
using at::Tensor;

// --- the architecture -----------------------------------------------------------------------------------------------

// y = W_o (sigmoid(W_g x) * attention(W_q x, W_k x, W_v x)), the gate per head and feature.
class GatedOutputAttention final : public nn::Layer<GatedOutputAttention> {
 public:
  GatedOutputAttention(const nn::AttentionConfig& config, int64_t layer)
      : q_proj(config.hidden_size, config.num_heads * config.head_dim),
        k_proj(config.hidden_size, config.num_kv_heads * config.head_dim),
        v_proj(config.hidden_size, config.num_kv_heads * config.head_dim),
        gate_proj(config.hidden_size, config.num_heads * config.head_dim),
        o_proj(config.num_heads * config.head_dim, config.hidden_size),
        config_(config),
        layer_(layer) {
    add("q_proj", q_proj);
    add("k_proj", k_proj);
    add("v_proj", v_proj);
    add("gate_proj", gate_proj);
    add("o_proj", o_proj);
  }

  Tensor forward(const Tensor& x, nn::Step& step) {  // x [T, C]
    const int64_t d = config_.head_dim;
    const Tensor q = ops::rotate(q_proj(x).view({-1, config_.num_heads, d}), step.cos, step.sin);     // [T, H, D]
    const Tensor k = ops::rotate(k_proj(x).view({-1, config_.num_kv_heads, d}), step.cos, step.sin);  // [T, K, D]
    const Tensor v = v_proj(x).view({-1, config_.num_kv_heads, d});
    const ops::AttentionSpec spec{.scale = 1.0 / std::sqrt(static_cast<double>(d))};
    // nn::attend owns the cache, the pages and the ragged batch: the same line trains and decodes.
    const Tensor heads = nn::attend(q, k, v, spec, layer_, step).flatten(1);  // [T, H D]
    return o_proj(heads * gate_proj(x).sigmoid());                            // [T, C]
  }
  std::string_view kind() const override { return "GatedOutputAttention"; }

  nn::Linear q_proj, k_proj, v_proj, gate_proj, o_proj;

 private:
  nn::AttentionConfig config_;
  int64_t layer_;
};

// y = W_down relu(W_up x)^2
class SquaredReluMlp final : public nn::Layer<SquaredReluMlp> {
 public:
  SquaredReluMlp(int64_t width, int64_t inner) : up_proj(width, inner), down_proj(inner, width) {
    add("up_proj", up_proj);
    add("down_proj", down_proj);
  }
  Tensor forward(const Tensor& x) { return down_proj(ops::activate(up_proj(x), ops::Activation::relu_squared)); }
  std::string_view kind() const override { return "SquaredReluMlp"; }

  nn::Linear up_proj, down_proj;
};

class PrimerLayer final : public nn::Layer<PrimerLayer> {
 public:
  PrimerLayer(const nn::DecoderLayerConfig& config, int64_t index)
      : self_attn(config.attention, index),
        mlp(config.attention.hidden_size, config.intermediate_size),
        input_layernorm(config.attention.hidden_size, config.norm_eps),
        post_attention_layernorm(config.attention.hidden_size, config.norm_eps) {
    add("self_attn", self_attn);
    add("mlp", mlp);
    add("input_layernorm", input_layernorm);
    add("post_attention_layernorm", post_attention_layernorm);
  }
  Tensor forward(Tensor x, nn::Step& step) {  // x [T, C]
    x = x + self_attn(input_layernorm(x), step);
    return x + mlp(post_attention_layernorm(x));
  }
  std::string_view kind() const override { return "PrimerLayer"; }

  GatedOutputAttention self_attn;
  SquaredReluMlp mlp;
  nn::RmsNorm input_layernorm, post_attention_layernorm;
};

// --- its registration: from here on it loads, saves, trains and generates like any other family
// ------------------------

Json tiny_config() {
  return {{"model_type", "gated-primer"}, {"vocab_size", 256},          {"hidden_size", 64},
          {"intermediate_size", 192},     {"num_hidden_layers", 2},     {"num_attention_heads", 4},
          {"num_key_value_heads", 2},     {"rms_norm_eps", 1e-5},       {"max_position_embeddings", 256},
          {"rope_theta", 10000.0},        {"tie_word_embeddings", true}};
}

void register_gated_primer() {
  models::register_family({.name = "gated-primer",
                           .class_prefix = "GatedPrimer",
                           .make = [](const Json& config, std::string_view where) -> std::unique_ptr<models::Decoder> {
                             const auto model = models::read_llama_style(config, Json::object(), where);
                             return std::make_unique<models::DecoderStack<PrimerLayer>>(model.stack, model.layers);
                           },
                           .tiny_config = tiny_config});
}

// --- the program ----------------------------------------------------------------------------------------------------

const std::string kSentence =
    "the caravan crosses the desert at night, when the sand is cold and the stars show the way.";

std::vector<int64_t> bytes_of(const std::string& text) {  // a token is a byte
  std::vector<int64_t> ids;
  for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  return ids;
}

Tensor loss_of(models::CausalLm& model, const Tensor& ids) {  // ids [T]
  const std::vector<int64_t> lengths = {ids.size(0)};
  nn::Step step = nn::Step::packed(lengths);
  return models::CausalLm::loss(model.forward(ids, step), ids, step);
}

double train(models::CausalLm& model, const Tensor& ids, int steps) {
  torch::optim::AdamW optimizer(model.parameters(), torch::optim::AdamWOptions(3e-3).weight_decay(0.01));
  double loss = 0;
  for (int i = 0; i < steps; ++i) {
    optimizer.zero_grad();
    const Tensor value = loss_of(model, ids);
    value.backward();
    optimizer.step();
    loss = value.item<double>();
    if (i % 20 == 0) std::printf("step %3d  loss %.4f\n", i, loss);
  }
  return loss;
}

std::string complete(models::CausalLm& model, const std::string& prompt, int64_t tokens) {
  generate::GenerateRequest request;
  for (const int64_t id : bytes_of(prompt)) request.prompt.push_back(static_cast<int32_t>(id));
  request.config.max_new_tokens = tokens;
  const generate::GenerateResult result = generate::Engine(model).generate(std::move(request));
  std::string text;
  for (const int32_t id : result.sequences.at(0).ids) text.push_back(static_cast<char>(id));
  return text;
}

void run(const std::string& folder) {
  register_gated_primer();
  models::CausalLm model(tiny_config());
  nn::initialize(model, {.std = 0.05, .seed = 1});
  model.requires_grad(true);
  model.train();
  const Tensor ids = at::tensor(bytes_of(kSentence), at::kLong);
  const double loss = train(model, ids, 120);
  check(loss < 0.1, ErrorCode::internal, "the loss after training is {}, expected below 0.1", loss);

  model.train(false);
  models::save_model(model, folder);  // config.json + model.safetensors
  const auto loaded = models::load_causal_lm(folder);
  const at::NoGradGuard no_grad;
  check(loss_of(*loaded, ids).item<double>() == loss_of(model, ids).item<double>(), ErrorCode::internal,
        "the loaded model computes another loss than the saved one");

  const std::string prompt = kSentence.substr(0, 24);
  const std::string rest = complete(*loaded, prompt, static_cast<int64_t>(kSentence.size() - prompt.size()));
  std::printf("loaded from %s: \"%s\" -> \"%s\"\n", folder.c_str(), prompt.c_str(), rest.c_str());
  check(prompt + rest == kSentence, ErrorCode::internal, "the loaded model does not complete the sentence");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(argc > 1 ? argv[1] : "gated-primer");
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}
