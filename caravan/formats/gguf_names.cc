// The lists, and the matching of one '*' (a layer number) per name.
#include "caravan/formats/gguf_names.h"

#include <algorithm>
#include <array>

namespace caravan::formats {
namespace {

using NamePair = std::pair<std::string_view, std::string_view>;

// Pre-norm decoders: one norm before attention, one before the MLP.
constexpr std::array kDecoderNames = std::to_array<NamePair>({
    {"token_embd", "model.embed_tokens"},
    {"output_norm", "model.norm"},
    {"output", "lm_head"},
    {"blk.*.attn_norm", "model.layers.*.input_layernorm"},
    {"blk.*.attn_q", "model.layers.*.self_attn.q_proj"},
    {"blk.*.attn_k", "model.layers.*.self_attn.k_proj"},
    {"blk.*.attn_v", "model.layers.*.self_attn.v_proj"},
    {"blk.*.attn_output", "model.layers.*.self_attn.o_proj"},
    {"blk.*.attn_q_norm", "model.layers.*.self_attn.q_norm"},
    {"blk.*.attn_k_norm", "model.layers.*.self_attn.k_norm"},
    {"blk.*.ffn_norm", "model.layers.*.post_attention_layernorm"},
    {"blk.*.ffn_gate", "model.layers.*.mlp.gate_proj"},
    {"blk.*.ffn_up", "model.layers.*.mlp.up_proj"},
    {"blk.*.ffn_down", "model.layers.*.mlp.down_proj"},
});

// {GGUF name, model_type, class, q/k permuted, names}
constexpr std::array kArchitectures = std::to_array<GgufArchitecture>({
    {"llama", "llama", "LlamaForCausalLM", true, kDecoderNames},
    {"llama", "mistral", "MistralForCausalLM", true, kDecoderNames},
    {"llama", "llama-rec", "LlamaRecForCausalLM", true, kDecoderNames},
    {"qwen2", "qwen2", "Qwen2ForCausalLM", false, kDecoderNames},
    {"qwen3", "qwen3", "Qwen3ForCausalLM", false, kDecoderNames},
});

// What '*' stands for where `name` matches `pattern`; "" for a pattern without one.
std::optional<std::string_view> match(std::string_view pattern, std::string_view name) {
  const size_t star = pattern.find('*');
  if (star == std::string_view::npos) return name == pattern ? std::optional<std::string_view>("") : std::nullopt;
  const std::string_view before = pattern.substr(0, star), after = pattern.substr(star + 1);
  if (name.size() <= before.size() + after.size() || !name.starts_with(before) || !name.ends_with(after))
    return std::nullopt;
  const std::string_view layer = name.substr(before.size(), name.size() - before.size() - after.size());
  const bool digits = std::all_of(layer.begin(), layer.end(), [](char c) { return c >= '0' && c <= '9'; });
  const bool canonical = layer.size() <= 9 && (layer.size() == 1 || layer[0] != '0');
  return digits && canonical ? std::optional(layer) : std::nullopt;
}

std::optional<std::string> translate(std::span<const NamePair> names, std::string_view name,
                                     std::string_view NamePair::*from, std::string_view NamePair::*to) {
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::string_view ending = name.substr(dot);
  if (ending != ".weight" && ending != ".bias") return std::nullopt;
  for (const NamePair& pair : names) {
    const std::optional<std::string_view> layer = match(pair.*from, name.substr(0, dot));
    if (!layer) continue;
    std::string result(pair.*to);
    if (!layer->empty()) result.replace(result.find('*'), 1, *layer);
    return result.append(ending);
  }
  return std::nullopt;
}

}  // namespace

const GgufArchitecture* find_gguf_architecture(std::string_view name) {
  const auto it = std::find_if(kArchitectures.begin(), kArchitectures.end(),
                               [&](const GgufArchitecture& a) { return a.name == name; });
  return it == kArchitectures.end() ? nullptr : &*it;
}

const GgufArchitecture* find_gguf_architecture_of_model_type(std::string_view model_type) {
  const auto it = std::find_if(kArchitectures.begin(), kArchitectures.end(),
                               [&](const GgufArchitecture& a) { return a.model_type == model_type; });
  return it == kArchitectures.end() ? nullptr : &*it;
}

std::string gguf_model_types() {
  std::string types;
  for (const GgufArchitecture& a : kArchitectures) types.append(types.empty() ? "" : ", ").append(a.model_type);
  return types;
}

std::optional<std::string> huggingface_tensor_name(const GgufArchitecture& architecture, std::string_view gguf_name) {
  return translate(architecture.names, gguf_name, &NamePair::first, &NamePair::second);
}

std::optional<std::string> gguf_tensor_name(const GgufArchitecture& architecture, std::string_view huggingface_name) {
  return translate(architecture.names, huggingface_name, &NamePair::second, &NamePair::first);
}

}  // namespace caravan::formats
