#include "caravan/models/bert.h"

#include <torch/torch.h>

#include <cmath>
#include <map>

#include "caravan/base/error.h"
#include "caravan/models/load.h"

namespace caravan::models {
namespace {

constexpr std::string_view kConfig = "config.json";

Tensor drop(const Tensor& x, double p, bool training) { return training && p > 0 ? at::dropout(x, p, true) : x; }

// A checkpoint's name as BertModel has it: without "bert.", with the newer names of layer norms.
std::string plain_name(std::string_view name) {
  if (name.starts_with("bert.")) name.remove_prefix(5);
  std::string plain(name);
  static constexpr std::pair<std::string_view, std::string_view> kRenamed[] = {{"LayerNorm.gamma", "LayerNorm.weight"},
                                                                               {"LayerNorm.beta", "LayerNorm.bias"}};
  for (const auto& [old, now] : kRenamed) {
    if (plain.ends_with(old)) plain.replace(plain.size() - old.size(), old.size(), now);
  }
  return plain;
}

Tensor read_fp32(const formats::Checkpoint& checkpoint, const formats::TensorInfo& info) {
  const auto stored = checkpoint.read(info.name);
  Tensor raw = at::empty(info.shape, to_scalar_type(info.dtype));
  std::copy(stored.bytes.begin(), stored.bytes.end(), static_cast<std::byte*>(raw.mutable_data_ptr()));
  return raw.to(at::kFloat);
}

}  // namespace

BertConfig BertConfig::read(const Json& config) {
  const std::string type = get_string(config, "model_type", kConfig, "bert");
  check(type == "bert", ErrorCode::unsupported, "{}: an encoder of model_type \"bert\" is expected, got \"{}\"",
        kConfig, type);
  const std::string positions = get_string(config, "position_embedding_type", kConfig, "absolute");
  check(positions == "absolute", ErrorCode::unsupported, "{}: position_embedding_type \"{}\"; \"absolute\" is known",
        kConfig, positions);
  const IntRange size{.min = 1, .max = 1 << 24};
  BertConfig c;
  c.vocab_size = get_int(config, "vocab_size", kConfig, size, 30522);
  c.hidden_size = get_int(config, "hidden_size", kConfig, size, 768);
  c.layers = get_int(config, "num_hidden_layers", kConfig, {.min = 1, .max = 10000}, 12);
  c.heads = get_int(config, "num_attention_heads", kConfig, size, 12);
  c.intermediate_size = get_int(config, "intermediate_size", kConfig, size, 3072);
  c.max_positions = get_int(config, "max_position_embeddings", kConfig, size, 512);
  c.token_types = get_int(config, "type_vocab_size", kConfig, size, 2);
  c.eps = get_number(config, "layer_norm_eps", kConfig, 1e-12);
  c.hidden_dropout = get_number(config, "hidden_dropout_prob", kConfig, 0.1);
  c.attention_dropout = get_number(config, "attention_probs_dropout_prob", kConfig, 0.1);
  c.activation = ops::find_activation(get_string(config, "hidden_act", kConfig, "gelu"), kConfig);
  check_file(c.hidden_size % c.heads == 0, FileFault::range, kConfig,
             "hidden_size {} is not a multiple of num_attention_heads {}", c.hidden_size, c.heads);
  return c;
}

BertEmbeddings::BertEmbeddings(const BertConfig& config)
    : word_embeddings(config.vocab_size, config.hidden_size),
      position_embeddings(config.max_positions, config.hidden_size),
      token_type_embeddings(config.token_types, config.hidden_size),
      layer_norm(config.hidden_size, config.eps) {
  add("word_embeddings", word_embeddings);
  add("position_embeddings", position_embeddings);
  add("token_type_embeddings", token_type_embeddings);
  add("LayerNorm", layer_norm);
}

Tensor BertEmbeddings::forward(const Tensor& ids, const Tensor& token_types, const nn::Step& step) {
  const Tensor types = token_types.defined() ? token_types : at::zeros_like(ids);
  return layer_norm(word_embeddings(ids) + token_type_embeddings(types) + position_embeddings(step.positions));
}

BertSelfAttention::BertSelfAttention(const BertConfig& config, int64_t layer)
    : query(config.hidden_size, config.hidden_size, true),
      key(config.hidden_size, config.hidden_size, true),
      value(config.hidden_size, config.hidden_size, true),
      heads_(config.heads),
      layer_(layer),
      dropout_(config.attention_dropout) {
  add("query", query);
  add("key", key);
  add("value", value);
}

Tensor BertSelfAttention::forward(const Tensor& x, nn::Step& step) {  // x [T, C]
  const int64_t width = x.size(1) / heads_;
  const ops::AttentionSpec spec{
      .scale = 1.0 / std::sqrt(static_cast<double>(width)), .causal = false, .dropout = training() ? dropout_ : 0.0};
  const auto heads = [&](const Tensor& y) { return y.view({-1, heads_, width}); };  // [T, H, D]
  return nn::attend(heads(query(x)), heads(key(x)), heads(value(x)), spec, layer_, step).flatten(1);
}

BertOutput::BertOutput(int64_t in, const BertConfig& config)
    : dense(in, config.hidden_size, true), layer_norm(config.hidden_size, config.eps), dropout_(config.hidden_dropout) {
  add("dense", dense);
  add("LayerNorm", layer_norm);
}

Tensor BertOutput::forward(const Tensor& x, const Tensor& residual) {
  return layer_norm(drop(dense(x), dropout_, training()) + residual);
}

BertLayer::BertLayer(const BertConfig& config, int64_t layer)
    : self_attention(config, layer),
      attention_output(config.hidden_size, config),
      intermediate(config.hidden_size, config.intermediate_size, true),
      output(config.intermediate_size, config),
      activation_(config.activation) {
  attention_group_.add("self", self_attention);
  attention_group_.add("output", attention_output);
  intermediate_group_.add("dense", intermediate);
  add("attention", attention_group_);
  add("intermediate", intermediate_group_);
  add("output", output);
}

Tensor BertLayer::forward(const Tensor& x, nn::Step& step) {
  const Tensor attended = attention_output(self_attention(x, step), x);
  return output(ops::activate(intermediate(attended), activation_), attended);
}

BertModel::BertModel(const BertConfig& config) : embeddings(config), config_(config) {
  for (int64_t i = 0; i < config.layers; ++i) layer.emplace_back(config, i);
  add("embeddings", embeddings);
  encoder_group_.add("layer", layer);
  add("encoder", encoder_group_);
}

Tensor BertModel::forward(const Tensor& ids, nn::Step& step, const Tensor& token_types) {
  for (int64_t b = 0; b < step.batch(); ++b) {
    check(step.starts[b + 1] - step.starts[b] <= config_.max_positions, ErrorCode::invalid_argument,
          "a sequence of {} tokens; this encoder has {} positions", step.starts[b + 1] - step.starts[b],
          config_.max_positions);
  }
  Tensor x = drop(embeddings(ids, token_types, step), config_.hidden_dropout, training());
  const auto capture = [&] {
    if (step.capture != nullptr && step.capture->want_hidden_states) step.capture->hidden_states.push_back(x);
  };
  capture();
  for (auto& one : layer) {
    x = (*one)(x, step);
    capture();
  }
  return x;
}

std::unique_ptr<BertModel> load_bert(const formats::Checkpoint& checkpoint) {
  auto model = std::make_unique<BertModel>(BertConfig::read(checkpoint.config()));
  std::map<std::string, const formats::TensorInfo*> stored;
  for (const formats::TensorInfo& info : checkpoint.tensors()) stored.emplace(plain_name(info.name), &info);
  std::string wrong;
  for (const nn::NamedParameter& p : model->named_parameters()) {
    const auto found = stored.find(p.name);
    if (found == stored.end()) {
      wrong += "\n  missing: " + p.name;
    } else if (found->second->shape != p.parameter->shape) {
      wrong += "\n  of another shape than the config says: " + p.name;
    } else if (wrong.empty()) {
      p.parameter->value = read_fp32(checkpoint, *found->second);
      p.parameter->dtype = DType::f32;
    }
  }
  check_file(wrong.empty(), FileFault::layout, checkpoint.path(), "the checkpoint does not fit its config{}", wrong);
  checkpoint.check();
  return model;
}

}  // namespace caravan::models
