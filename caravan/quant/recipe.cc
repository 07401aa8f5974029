#include "caravan/quant/recipe.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "caravan/base/error.h"
#include "caravan/base/nearest.h"
#include "caravan/formats/gguf_names.h"

namespace caravan::quant {
namespace {

enum class Role { value, down, output, other };
enum class Layers { all, first_two, first_four, first_eighth, first_sixteenth, more_bits, wide_groups };

// In these layers tensors of this role get this type instead of the recipe's.
struct Exception {
  Role role;
  Layers layers;
  DType dtype;
  bool without_importance_only = false, with_importance_only = false;
};

struct Recipe {
  std::string_view name;
  DType dtype;
  std::array<Exception, 6> exceptions = {};  // the first that applies; Role::other ends them
  bool linears_only = false;                 // embeddings and head stay f16: what Hugging Face folders have
};

constexpr Exception kEnd{Role::other, Layers::all, DType::f32};
using enum Role;

// more_bits: the first and last eighth of the layers and every third between. wide_groups: four queries a key or more.
constexpr std::array kRecipes = std::to_array<Recipe>({
    {"q4_0", DType::q4_0, {{{down, Layers::first_eighth, DType::q4_1, false, true}, kEnd}}},
    {"q4_1", DType::q4_1, {{kEnd}}},
    {"q5_0", DType::q5_0, {{{down, Layers::first_eighth, DType::q5_1, false, true}, kEnd}}},
    {"q5_1", DType::q5_1, {{kEnd}}},
    {"q8_0", DType::q8_0, {{kEnd}}},
    {"q2_k",
     DType::q2_k,
     {{{value, Layers::wide_groups, DType::q4_k},
       {value, Layers::all, DType::q3_k},
       {down, Layers::all, DType::q3_k},
       {output, Layers::all, DType::q3_k},
       kEnd}}},
    {"q3_k_s", DType::q3_k, {{kEnd}}},
    {"q3_k_m",
     DType::q3_k,
     {{{value, Layers::first_two, DType::q5_k},
       {value, Layers::all, DType::q4_k},
       {down, Layers::first_sixteenth, DType::q5_k},
       {down, Layers::all, DType::q4_k},
       {output, Layers::all, DType::q4_k},
       kEnd}}},
    {"q3_k_l",
     DType::q3_k,
     {{{value, Layers::all, DType::q5_k}, {down, Layers::all, DType::q5_k}, {output, Layers::all, DType::q5_k}, kEnd}}},
    {"q4_k_s",
     DType::q4_k,
     {{{value, Layers::first_four, DType::q5_k}, {down, Layers::first_eighth, DType::q5_k}, kEnd}}},
    {"q4_k_m", DType::q4_k, {{{value, Layers::more_bits, DType::q6_k}, {down, Layers::more_bits, DType::q6_k}, kEnd}}},
    {"q5_k_s", DType::q5_k, {{kEnd}}},
    {"q5_k_m", DType::q5_k, {{{value, Layers::more_bits, DType::q6_k}, {down, Layers::more_bits, DType::q6_k}, kEnd}}},
    {"q6_k", DType::q6_k, {{kEnd}}},
    {"iq4_nl",
     DType::iq4_nl,
     {{{value, Layers::wide_groups, DType::q5_k}, {down, Layers::first_eighth, DType::q5_k, true}, kEnd}}},
    {"iq4_xs",
     DType::iq4_xs,
     {{{value, Layers::wide_groups, DType::q5_k}, {down, Layers::first_eighth, DType::q5_k, true}, kEnd}}},
    {"int4", DType::q4_0, {{kEnd}}, true},
    {"int8", DType::q8_0, {{kEnd}}, true},
    {"f16", DType::f16, {{kEnd}}},
    {"bf16", DType::bf16, {{kEnd}}},
    {"f32", DType::f32, {{kEnd}}},
});

struct Alias {
  std::string_view alias, name;
};
constexpr Alias kAliases[] = {{"q3_k", "q3_k_m"}, {"q4_k", "q4_k_m"}, {"q5_k", "q5_k_m"}};

// What stands in for a type where rows are no multiple of its block.
struct Substitute {
  DType dtype, instead;
};
constexpr Substitute kSubstitutes[] = {
    {DType::q2_k, DType::iq4_nl}, {DType::q3_k, DType::iq4_nl}, {DType::iq4_xs, DType::iq4_nl},
    {DType::q4_k, DType::q5_0},   {DType::q5_k, DType::q5_1},   {DType::q6_k, DType::q8_0},
};

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

// "q4km", "Q4-K-M": the letters and digits alone.
std::string bare(std::string_view text) {
  std::string out = lower(text);
  std::erase_if(out, [](char c) { return c == '_' || c == '-'; });
  return out;
}

size_t find_recipe(std::string_view given) {
  std::string name = lower(given);
  for (const Alias& alias : kAliases) {
    if (alias.alias == name) name = alias.name;
  }
  for (size_t i = 0; i < kRecipes.size(); ++i) {
    if (kRecipes[i].name == name) return i;
  }
  const std::vector<std::string> names = recipe_names();
  if (const auto same = std::ranges::find(names, bare(name), bare); same != names.end()) name = *same;
  std::string list;
  for (const std::string& n : names) list += (list.empty() ? "" : ", ") + n;
  fail(ErrorCode::invalid_argument, "unknown type '{}'{}; types: {}", given, did_you_mean(name, names), list);
}

// Whether the pattern, '*' standing for any characters, occurs in the name.
bool occurs(std::string_view pattern, std::string_view name) {
  size_t at = 0;
  while (true) {
    const size_t star = pattern.find('*');
    const std::string_view part = pattern.substr(0, star);
    const size_t found = name.find(part, at);
    if (found == std::string_view::npos) return false;
    if (star == std::string_view::npos) return true;
    at = found + part.size();
    pattern.remove_prefix(star + 1);
  }
}

Role role_of(std::string_view name) {
  if (name.ends_with("v_proj.weight")) return Role::value;
  if (name.ends_with("down_proj.weight")) return Role::down;
  if (name.ends_with("o_proj.weight")) return Role::output;
  return Role::other;
}

// The number in ".layers.17."; -1 where there is none.
int64_t layer_of(std::string_view name) {
  constexpr std::string_view kMark = "layers.";
  const size_t at = name.find(kMark);
  if (at == std::string_view::npos) return -1;
  int64_t layer = -1;
  for (size_t i = at + kMark.size(); i < name.size() && name[i] >= '0' && name[i] <= '9' && layer < 100000; ++i) {
    layer = std::max<int64_t>(layer, 0) * 10 + (name[i] - '0');
  }
  return layer;
}

bool applies(Layers where, int64_t layer, int64_t layers, int64_t group) {
  switch (where) {
    case Layers::all:
      return true;
    case Layers::first_two:
      return layer < 2;
    case Layers::first_four:
      return layer < 4;
    case Layers::first_eighth:
      return layer < layers / 8;
    case Layers::first_sixteenth:
      return layer < layers / 16;
    case Layers::more_bits:
      return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
    case Layers::wide_groups:
      return group >= 4;
  }
  return false;
}

bool is_matrix(const formats::TensorInfo& t) {
  return t.shape.size() == 2 && t.name.ends_with(".weight") &&
         (is_floating_point(t.dtype) || is_block_quantized(t.dtype));
}

}  // namespace

std::vector<std::string> recipe_names() {
  std::vector<std::string> names;
  for (const Recipe& recipe : kRecipes) names.emplace_back(recipe.name);
  return names;
}

bool is_folder_recipe(std::string_view recipe) { return kRecipes[find_recipe(recipe)].linears_only; }

TypeRule parse_rule(std::string_view text) {
  const size_t at = text.rfind('=');
  check(at != std::string_view::npos && at > 0, ErrorCode::invalid_argument,
        "--tensor-type: expected PATTERN=TYPE, such as v_proj=q8_0, got '{}'", text);
  const std::optional<DType> dtype = find_dtype(text.substr(at + 1));
  const bool fits =
      dtype && (is_block_quantized(*dtype) || *dtype == DType::f32 || *dtype == DType::f16 || *dtype == DType::bf16);
  check(fits, ErrorCode::invalid_argument,
        "--tensor-type {}: '{}' is no type of a tensor; expected q4_0, q6_k, iq4_nl, f16 ...", text,
        text.substr(at + 1));
  return {std::string(text.substr(0, at)), *dtype};
}

TypeChooser::TypeChooser(const formats::Checkpoint& from, RecipeOptions options)
    : from_(from), options_(std::move(options)), recipe_(find_recipe(options_.recipe)) {
  const auto number = [&](std::string_view key, int64_t fallback) {
    return get_int(from.config(), key, "config.json", {.min = 1, .max = 1 << 20}, fallback);
  };
  for (const TypeRule& rule : options_.rules) {
    const auto matches = [&](const formats::TensorInfo& t) { return is_matrix(t) && matches_rule(rule, t); };
    check(std::ranges::any_of(from.tensors(), matches), ErrorCode::invalid_argument,
          "--tensor-type {}={}: no matrix has '{}' in its name{}", rule.pattern, to_string(rule.dtype), rule.pattern,
          from.find("lm_head.weight") == nullptr && occurs(rule.pattern, "lm_head.weight")
              ? "; the head is tied to the embedding: embed_tokens"
              : "");
  }
  for (const auto& [name, dtype] : options_.beyond_half) dense_ = dense_ == DType::f32 ? dense_ : dtype;
  layers_ = number("num_hidden_layers", 1);
  heads_ = number("num_attention_heads", 1);
  kv_heads_ = number("num_key_value_heads", heads_);
}

bool TypeChooser::matches_rule(const TypeRule& rule, const formats::TensorInfo& tensor) const {
  if (occurs(rule.pattern, tensor.name)) return true;
  const auto* architecture = formats::find_gguf_architecture_of_model_type(
      get_string(from_.config(), "model_type", "config.json", std::string()));
  const std::string gguf =
      architecture == nullptr ? "" : formats::gguf_tensor_name(*architecture, tensor.name).value_or("");
  return !gguf.empty() && occurs(rule.pattern, gguf);
}

DType TypeChooser::wanted(const formats::TensorInfo& tensor) const {
  for (const TypeRule& rule : options_.rules) {
    if (matches_rule(rule, tensor)) return rule.dtype;
  }
  const Recipe& recipe = kRecipes[recipe_];
  const bool blocks = is_block_quantized(recipe.dtype);
  const bool is_output = tensor.name == "lm_head.weight" ||
                         (tensor.name == "model.embed_tokens.weight" && from_.find("lm_head.weight") == nullptr);
  if (recipe.linears_only && (is_output || tensor.name.ends_with("embed_tokens.weight"))) return DType::f16;
  if (is_output && blocks) {
    const bool whole = tensor.shape.back() % dtype_info(DType::q6_k).block_size == 0;
    return recipe.dtype == DType::q8_0 || !whole ? DType::q8_0 : DType::q6_k;
  }
  const Role role = role_of(tensor.name);
  const int64_t layer = layer_of(tensor.name);
  if (role == Role::other || layer < 0) return recipe.dtype;
  DType dtype = recipe.dtype;
  for (const Exception& e : recipe.exceptions) {
    if (e.role == Role::other) break;
    if (e.role != role || (e.without_importance_only && options_.has_importance) ||
        (e.with_importance_only && !options_.has_importance) || !applies(e.layers, layer, layers_, heads_ / kv_heads_))
      continue;
    dtype = e.dtype;
    break;
  }
  // Models of 80 layers share each value matrix among eight queries: it is small there, and costs little.
  const bool cheap = role == Role::value && layers_ == 80 && heads_ != kv_heads_;
  return cheap && (dtype == DType::q3_k || dtype == DType::q4_k) ? DType::q5_k : dtype;
}

DType TypeChooser::fitting(DType dtype, const formats::TensorInfo& tensor) const {
  const int64_t columns = tensor.shape.back();
  while (columns % dtype_info(dtype).block_size != 0) {
    const auto* it = std::find_if(std::begin(kSubstitutes), std::end(kSubstitutes),
                                  [&](const Substitute& s) { return s.dtype == dtype; });
    dtype = it == std::end(kSubstitutes) ? DType::f16 : it->instead;
  }
  return dtype;
}

DType TypeChooser::held(DType dtype, const formats::TensorInfo& tensor) const {
  if (dtype != DType::f16) return dtype;
  if (kRecipes[recipe_].linears_only) return dense_;
  const auto it = options_.beyond_half.find(tensor.name);
  return it == options_.beyond_half.end() ? dtype : it->second;
}

DType TypeChooser::operator()(const formats::TensorInfo& tensor) const {
  if (!is_matrix(tensor)) {
    const bool vector = tensor.shape.size() <= 1 && is_floating_point(tensor.dtype);
    if (!vector) return tensor.dtype;
    return kRecipes[recipe_].linears_only ? held(DType::f16, tensor) : DType::f32;
  }
  return held(fitting(wanted(tensor), tensor), tensor);
}

std::vector<std::string> TypeChooser::warnings() const {
  std::map<std::string, int> replaced;
  for (const formats::TensorInfo& t : from_.tensors()) {
    if (!is_matrix(t)) continue;
    const DType dtype = wanted(t), instead = fitting(dtype, t);
    if (dtype != instead) {
      ++replaced[fmt::format("rows of {} are no multiple of {} ({}'s block): {} takes its place", t.shape.back(),
                             dtype_info(dtype).block_size, to_string(dtype), to_string(instead))];
    }
  }
  std::vector<std::string> lines;
  for (const auto& [text, count] : replaced) lines.push_back(fmt::format("{} ({} tensors)", text, count));
  if (!options_.beyond_half.empty()) {
    const auto& [name, dtype] = *options_.beyond_half.begin();
    const bool folder = kRecipes[recipe_].linears_only;
    lines.push_back(fmt::format("numbers of {} pass the range of f16{}: {} takes its place{}", name,
                                options_.beyond_half.size() == 1
                                    ? ""
                                    : fmt::format(" (and of {} more tensors)", options_.beyond_half.size() - 1),
                                to_string(folder ? dense_ : dtype), folder ? " in the whole folder" : " there"));
  }
  return lines;
}

}  // namespace caravan::quant
