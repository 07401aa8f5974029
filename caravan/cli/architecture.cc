#include "caravan/cli/architecture.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <set>

#include "caravan/cli/output.h"

namespace caravan::cli {
namespace {

using formats::TensorInfo;

bool is_number(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
}

std::string shape_text(const TensorInfo& tensor) { return fmt::format("[{}]", fmt::join(tensor.shape, ", ")); }

// --- tree ----------------------------------------------------------------------------------------------------------
void insert(ModuleTree& node, std::string_view path, const TensorInfo& tensor, int depth) {
  node.parameters += element_count(tensor);
  // A name of thousands of dots is not followed into thousands of levels.
  const size_t dot = depth < 64 ? path.find('.') : std::string_view::npos;
  const std::string_view first = path.substr(0, dot);
  auto child = std::find_if(node.children.rbegin(), node.children.rend(),
                            [&](const ModuleTree& c) { return c.name == first && (c.tensor == nullptr); });
  if (dot == std::string_view::npos) {
    node.children.push_back({.name = std::string(first), .tensor = &tensor, .parameters = element_count(tensor)});
    return;
  }
  if (child == node.children.rend()) {
    node.children.push_back({.name = std::string(first)});
    return insert(node.children.back(), path.substr(dot + 1), tensor, depth + 1);
  }
  insert(*child, path.substr(dot + 1), tensor, depth + 1);
}

// Data's way through a decoder, for files that are sorted by name; unknown names keep their place after these.
size_t reading_rank(const std::string& name) {
  static constexpr std::string_view kOrder[] = {"model",
                                                "transformer",
                                                "embed_tokens",
                                                "layers",
                                                "input_layernorm",
                                                "self_attn",
                                                "q_proj",
                                                "q_norm",
                                                "k_proj",
                                                "k_norm",
                                                "v_proj",
                                                "o_proj",
                                                "post_attention_layernorm",
                                                "mlp",
                                                "gate_proj",
                                                "up_proj",
                                                "down_proj",
                                                "norm",
                                                "lm_head",
                                                "weight",
                                                "bias"};
  return static_cast<size_t>(std::find(std::begin(kOrder), std::end(kOrder), name) - std::begin(kOrder));
}

void sort_for_reading(ModuleTree& node) {
  std::stable_sort(node.children.begin(), node.children.end(), [](const ModuleTree& a, const ModuleTree& b) {
    if (is_number(a.name) && is_number(b.name))
      return std::pair(a.name.size(), a.name) < std::pair(b.name.size(), b.name);
    return reading_rank(a.name) < reading_rank(b.name);
  });
  for (ModuleTree& child : node.children) sort_for_reading(child);
}

bool same_structure(const ModuleTree& a, const ModuleTree& b) {
  if ((a.tensor == nullptr) != (b.tensor == nullptr)) return false;
  if (a.tensor != nullptr && (a.tensor->shape != b.tensor->shape || a.tensor->dtype != b.tensor->dtype)) return false;
  return std::equal(a.children.begin(), a.children.end(), b.children.begin(), b.children.end(),
                    [](const ModuleTree& x, const ModuleTree& y) { return x.name == y.name && same_structure(x, y); });
}

// "weight [576, 576] bf16, bias [576] bf16" for a module that holds tensors only.
std::string leaf_text(const ModuleTree& node) {
  std::string text;
  for (const ModuleTree& child : node.children) {
    const std::string name = child.name == "weight" ? "" : child.name + " ";
    text += fmt::format("{}{}{} {}", text.empty() ? "" : ", ", name, shape_text(*child.tensor),
                        to_string(child.tensor->dtype));
  }
  return text;
}

void format_node(const ModuleTree& node, const std::string& label, const std::string& indent, bool last,
                 std::string& out) {
  const bool leaf =
      std::all_of(node.children.begin(), node.children.end(), [](const ModuleTree& c) { return c.tensor != nullptr; });
  std::string detail;
  if (node.tensor != nullptr) {
    detail = fmt::format("{} {}", shape_text(*node.tensor), to_string(node.tensor->dtype));
  } else if (leaf) {
    detail = leaf_text(node);
  }
  const std::string head = fmt::format("{}{}{}", indent, last ? "└─ " : "├─ ", label);
  const size_t width =
      head.size() - 2 * std::count(head.begin(), head.end(), '\xe2');  // box characters are 3 bytes each
  const size_t pad = width < 40 ? 40 - width : 1;
  out += fmt::format("{}{}{:>9}  {}\n", head, std::string(pad, ' '), human_count(node.parameters), detail);
  if (leaf) return;
  const std::string below = indent + (last ? "   " : "│  ");
  for (size_t i = 0; i < node.children.size();) {
    size_t end = i + 1;
    while (is_number(node.children[i].name) && end < node.children.size() && is_number(node.children[end].name) &&
           same_structure(node.children[i], node.children[end])) {
      ++end;
    }
    const size_t count = end - i;
    const std::string name =
        count == 1 ? node.children[i].name
                   : fmt::format("{}..{} ({}x)", node.children[i].name, node.children[end - 1].name, count);
    format_node(node.children[i], name, below, end == node.children.size(), out);
    i = end;
  }
}

// --- parts ---------------------------------------------------------------------------------------------------------
bool has_any(std::string_view name, std::initializer_list<std::string_view> words) {
  return std::any_of(words.begin(), words.end(),
                     [&](std::string_view w) { return name.find(w) != std::string_view::npos; });
}

int64_t integer(const Json& config, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    const Json* value = find_member(config, key);
    if (value != nullptr && value->is_number_integer() && *value >= 0 && *value <= int64_t{1} << 40)
      return value->get<int64_t>();
  }
  return 0;
}

std::string text_of(const Json& config, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    const Json* value = find_member(config, key);
    if (value != nullptr && value->is_string()) return value->get<std::string>();
  }
  return "";
}

double number(const Json& config, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    const Json* value = find_member(config, key);
    if (value != nullptr && value->is_number()) return value->get<double>();
  }
  return 0;
}

// "RoPE, θ 10,000" with the scaling where there is one; keys of transformers 4 and 5.
std::string rope_text(const Json& config) {
  static const Json kNone = Json::object();
  const Json* parameters = find_member(config, "rope_parameters");
  const Json* scaling = parameters != nullptr ? parameters : find_member(config, "rope_scaling");
  if (scaling == nullptr || !scaling->is_object()) scaling = &kNone;
  double theta = number(*scaling, {"rope_theta"});
  if (theta == 0) theta = number(config, {"rope_theta"});
  if (theta == 0) return "";
  std::string text = "RoPE  θ " + with_commas(static_cast<uint64_t>(std::clamp(theta, 0.0, 1e18)));
  const std::string type = text_of(*scaling, {"rope_type", "type"});
  if (!type.empty() && type != "default") text += "  " + type;
  return text;
}

void read_config(Architecture& a, const Json& config) {
  const Json* names = find_member(config, "architectures");
  if (names != nullptr && names->is_array() && !names->empty() && names->front().is_string())
    a.title = names->front().get<std::string>();
  a.model_type = text_of(config, {"model_type"});
  a.activation = text_of(config, {"hidden_act", "hidden_activation", "activation_function"});
  a.vocab = integer(config, {"vocab_size"});
  a.hidden = integer(config, {"hidden_size", "n_embd", "d_model"});
  a.heads = integer(config, {"num_attention_heads", "n_head", "num_heads"});
  a.kv_heads = integer(config, {"num_key_value_heads"});
  a.head_dim = integer(config, {"head_dim"});
  a.context = integer(config, {"max_position_embeddings", "n_positions", "n_ctx"});
  a.norm_eps = number(config, {"rms_norm_eps", "layer_norm_epsilon", "layer_norm_eps"});
  a.rms_norm = find_member(config, "rms_norm_eps") != nullptr;
  a.rope = rope_text(config);
  const Json* window = find_member(config, "use_sliding_window");
  if (window == nullptr || *window != false) a.sliding_window = integer(config, {"sliding_window"});
  if (a.kv_heads == 0) a.kv_heads = a.heads;
}

// "model.layers.12.mlp.up_proj.weight" -> 12, and "mlp.up_proj.weight" in `rest`; -1 outside layers.
int64_t layer_of(std::string_view name, std::string_view* rest) {
  for (size_t begin = 0; begin < name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    const std::string_view word = name.substr(begin, end - begin);
    if (begin > 0 && end < name.size() && word.size() < 7 && is_number(word)) {
      *rest = name.substr(end + 1);
      return std::stoll(std::string(word));
    }
    begin = end + 1;
  }
  return -1;
}

void read_projection(Architecture& a, std::string_view name, const TensorInfo& tensor) {
  struct Slot {
    std::string_view word;
    Projection Architecture::*member;
  };
  static constexpr Slot kSlots[] = {
      {"q_proj", &Architecture::query},   {"k_proj", &Architecture::key},     {"v_proj", &Architecture::value},
      {"o_proj", &Architecture::output},  {"gate_proj", &Architecture::gate}, {"up_proj", &Architecture::up},
      {"down_proj", &Architecture::down}, {"fc1", &Architecture::up},         {"fc2", &Architecture::down},
  };
  for (const Slot& slot : kSlots) {
    if (name.find(slot.word) == std::string_view::npos) continue;
    Projection& p = a.*slot.member;
    if (name.ends_with(".bias")) p.bias = true;
    if (tensor.shape.size() == 2 && name.ends_with(".weight")) p.out = tensor.shape[0], p.in = tensor.shape[1];
  }
  if (has_any(name, {"q_norm", "k_norm"})) a.qk_norm = true;
}

void read_outside(Architecture& a, const TensorInfo& tensor, Part part) {
  if (tensor.shape.size() != 2) return;
  if (part == Part::embedding && a.vocab == 0) a.vocab = tensor.shape[0];
  if (part == Part::embedding && a.hidden == 0) a.hidden = tensor.shape[1];
  if (part != Part::head) return;
  const size_t end = tensor.name.rfind('.');
  a.head_name = tensor.name.substr(0, end);
  a.head_outputs = tensor.shape[0];
}

void finish(Architecture& a, const Json& config) {
  a.gated = static_cast<bool>(a.gate);
  a.feed_forward = a.up.out;
  if (a.hidden == 0) a.hidden = a.query.in;
  if (a.head_dim == 0 && a.heads > 0) a.head_dim = a.query ? a.query.out / a.heads : a.hidden / a.heads;
  if (a.title.empty()) a.title = a.model_type.empty() ? "model" : a.model_type;
  const Json* tied = find_member(config, "tie_word_embeddings");
  a.tied = a.head_name.empty() && (tied != nullptr ? *tied == true : a.title.ends_with("ForCausalLM"));
  if (a.tied) a.head_name = "lm_head", a.head_outputs = a.vocab;
}

}  // namespace

uint64_t element_count(const TensorInfo& tensor) {
  uint64_t n = 1;
  for (const int64_t d : tensor.shape) n *= static_cast<uint64_t>(d);  // the reader checked that it fits
  return n;
}

uint64_t byte_count(const TensorInfo& tensor) {
  return static_cast<uint64_t>(tensor_bytes(tensor.dtype, tensor.shape, tensor.name));
}

ModuleTree build_tree(std::span<const TensorInfo> tensors) {
  ModuleTree root;
  for (const TensorInfo& tensor : tensors) insert(root, tensor.name, tensor, 0);
  sort_for_reading(root);
  return root;
}

std::string format_tree(const ModuleTree& root) {
  std::string out;
  for (const ModuleTree& child : root.children)
    format_node(child, child.name, "", &child == &root.children.back(), out);
  return out;
}

Part part_of(std::string_view name) {
  if (has_any(name, {"attn", "attention"}) && !has_any(name, {"layernorm", "layer_norm", "attn_norm"}))
    return Part::attention;
  if (has_any(name, {"mlp", "feed_forward", "ffn", "fc1", "fc2", "experts"}) && !has_any(name, {"norm"}))
    return Part::mlp;
  if (has_any(name, {"norm", "ln_"})) return Part::norm;
  if (has_any(name, {"embed", "wte", "wpe"})) return Part::embedding;
  if (has_any(name, {"lm_head", "score", "qa_outputs", "classifier"})) return Part::head;
  return Part::other;
}

Architecture describe(const Json& config, std::span<const TensorInfo> tensors) {
  Architecture a;
  read_config(a, config);
  std::map<std::string, uint64_t> dtypes;
  std::set<int64_t> layers;
  for (const TensorInfo& tensor : tensors) {
    const uint64_t count = element_count(tensor), bytes = byte_count(tensor);
    const Part part = part_of(tensor.name);
    a.parameters[static_cast<size_t>(part)] += count;
    a.total += count;
    a.bytes += bytes;
    dtypes[std::string(to_string(tensor.dtype))] += bytes;
    std::string_view rest;
    const int64_t layer = layer_of(tensor.name, &rest);
    if (layer < 0) {
      read_outside(a, tensor, part);
      continue;
    }
    layers.insert(layer);
    read_projection(a, rest, tensor);
  }
  a.layers = static_cast<int64_t>(layers.size());
  const uint64_t n = std::max<uint64_t>(layers.size(), 1);
  a.attention_per_layer = a.parameters[static_cast<size_t>(Part::attention)] / n;
  a.mlp_per_layer = a.parameters[static_cast<size_t>(Part::mlp)] / n;
  a.norm_per_layer = a.parameters[static_cast<size_t>(Part::norm)] / n;
  std::vector<std::pair<std::string, uint64_t>> by_size(dtypes.begin(), dtypes.end());
  std::sort(by_size.begin(), by_size.end(), [](const auto& x, const auto& y) { return x.second > y.second; });
  for (const auto& [name, bytes] : by_size) a.dtypes += (a.dtypes.empty() ? "" : " + ") + name;
  finish(a, config);
  return a;
}

}  // namespace caravan::cli
