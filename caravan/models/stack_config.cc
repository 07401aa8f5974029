#include "caravan/models/stack_config.h"

#include <torch/torch.h>

#include "caravan/base/error.h"

namespace caravan::models {
namespace {

constexpr IntRange kWindow{.min = 1, .max = int64_t{1} << 40};

nn::AttentionConfig read_attention(const Json& config, std::string_view where) {
  nn::AttentionConfig a;
  a.hidden_size = get_int(config, "hidden_size", where, {.min = 1, .max = 1 << 20});
  a.num_heads = get_int(config, "num_attention_heads", where, {.min = 1, .max = 1 << 14});
  a.num_kv_heads = get_int(config, "num_key_value_heads", where, {.min = 1, .max = a.num_heads}, a.num_heads);
  check_file(a.num_heads % a.num_kv_heads == 0, FileFault::range, where,
             "num_attention_heads ({}) must be a multiple of num_key_value_heads ({})", a.num_heads, a.num_kv_heads);
  const bool has_head_dim = find_member(config, "head_dim") != nullptr;
  check_file(has_head_dim || a.hidden_size % a.num_heads == 0, FileFault::range, where,
             "hidden_size ({}) must be a multiple of num_attention_heads ({}) where head_dim is not given",
             a.hidden_size, a.num_heads);
  a.head_dim = get_int(config, "head_dim", where, {.min = 1, .max = 1 << 14}, a.hidden_size / a.num_heads);
  a.dropout = read_dropout(config, "attention_dropout", where);
  return a;
}

}  // namespace

double read_dropout(const Json& config, std::string_view key, std::string_view where) {
  const double dropout = get_number(config, key, where, 0.0);
  check_file(dropout >= 0 && dropout < 1, FileFault::range, where, "{} must lie in [0, 1), got {}", key, dropout);
  return dropout;
}

LlamaStyleConfig read_llama_style(const Json& given, const Json& defaults, std::string_view where) {
  check_file(given.is_object(), FileFault::type, where, "an object is expected");
  Json config = given;
  for (const auto& [key, value] : defaults.items()) {
    if (!config.contains(key)) config[key] = value;
  }
  nn::DecoderLayerConfig layer{.attention = read_attention(config, where)};
  layer.intermediate_size = get_int(config, "intermediate_size", where, {.min = 1, .max = 1 << 24});
  layer.activation = ops::find_activation(get_string(config, "hidden_act", where, "silu"), where);
  layer.norm_eps = get_number(config, "rms_norm_eps", where, 1e-6);
  check_file(layer.norm_eps >= 0, FileFault::range, where, "rms_norm_eps must not be negative, got {}", layer.norm_eps);
  layer.dropout = read_dropout(config, "hidden_dropout", where);
  const int64_t layers = get_int(config, "num_hidden_layers", where, {.min = 1, .max = 10000});

  LlamaStyleConfig model;
  model.layers.assign(static_cast<size_t>(layers), layer);
  model.stack = {
      .vocab_size = get_int(config, "vocab_size", where, {.min = 1, .max = 1 << 26}),
      .hidden_size = layer.attention.hidden_size,
      .padding_index = get_int(config, "pad_token_id", where, {.min = -1, .max = 1 << 26}, -1),
      .rms_norm_eps = layer.norm_eps,
      .embedding_dropout = read_dropout(config, "embedding_dropout", where),
      .cache = {.layers = layers, .kv_heads = layer.attention.num_kv_heads, .head_dim = layer.attention.head_dim},
      .rotary = nn::RotaryConfig::full_width_from_json(config, layer.attention.head_dim, where)};
  // An id beyond the vocabulary marks padding that is never looked up.
  if (model.stack.padding_index >= model.stack.vocab_size) model.stack.padding_index = -1;
  return model;
}

void set_qwen_windows(LlamaStyleConfig& model, const Json& config, std::string_view where) {
  const bool is_null = config.contains("sliding_window") && find_member(config, "sliding_window") == nullptr;
  const Json* types = find_member(config, "layer_types");
  const int64_t first = get_int(config, "max_window_layers", where, {.min = 0}, 28);
  if (!get_bool(config, "use_sliding_window", where, false) || is_null) return;  // missing: 4096, null: none
  const int64_t window = get_int(config, "sliding_window", where, kWindow, 4096);
  check_file(types == nullptr || (types->is_array() && types->size() == model.layers.size()), FileFault::range, where,
             "layer_types must list {} layers", model.layers.size());
  for (size_t i = 0; i < model.layers.size(); ++i) {
    const bool slides = types != nullptr ? (*types)[i] == "sliding_attention" : static_cast<int64_t>(i) >= first;
    if (slides) model.layers[i].attention.sliding_window = window;
  }
}

}  // namespace caravan::models
