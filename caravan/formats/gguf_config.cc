// Key by key, in config.json's usual order.
#include "caravan/formats/gguf_config.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "caravan/base/checked.h"
#include "caravan/base/error.h"
#include "caravan/formats/gguf_rotary.h"
#include "caravan/formats/gguf_vocabulary.h"

namespace caravan::formats {
namespace {

constexpr IntRange kLayers = {.min = 1, .max = 4096};
constexpr IntRange kWidth = {.min = 1, .max = 1 << 24};
constexpr IntRange kContext = {.min = 1, .max = int64_t{1} << 40};

// Reads ARCHITECTURE.key.
class Metadata {
 public:
  Metadata(const GgufFile& file, std::string_view prefix) : file_(file), prefix_(prefix) {}
  std::string key(std::string_view name) const { return fmt::format("{}.{}", prefix_, name); }
  bool has(std::string_view name) const { return file_.has(key(name)); }
  double number(std::string_view name, std::optional<double> otherwise = std::nullopt) const {
    return file_.get_number(key(name), otherwise);
  }
  std::string string(std::string_view name, std::string otherwise) const {
    return file_.get_string(key(name), otherwise);
  }

  // A positive number; a per-layer array must repeat one value.
  int64_t integer(std::string_view name, IntRange range, std::optional<int64_t> otherwise = std::nullopt) const {
    const std::string full = key(name);
    const GgufField* field = file_.find(full);
    if (field == nullptr || field->type != GgufType::array) return file_.get_int(full, range, otherwise);
    const std::vector<int64_t> values = file_.get_ints(full);
    check_file(!values.empty(), FileFault::range, file_.path(), "\"{}\" is an empty array", full);
    const bool uniform = std::all_of(values.begin(), values.end(), [&](int64_t v) { return v == values[0]; });
    check_file(uniform, FileFault::unsupported, file_.path(),
               "\"{}\" differs from layer to layer, which is not supported", full);
    check_file(values[0] >= range.min && values[0] <= range.max, FileFault::range, file_.path(),
               "\"{}\" must lie in [{}, {}], got {}", full, range.min, range.max, values[0]);
    return values[0];
  }
  double positive(std::string_view name, std::optional<double> otherwise = std::nullopt) const {
    const double value = number(name, otherwise);
    check_file(value > 0, FileFault::range, file_.path(), "\"{}\" must be positive, got {}", key(name), value);
    return value;
  }

 private:
  const GgufFile& file_;
  std::string prefix_;
};

bool has_model(const GgufFile& file) { return !file.tensors().empty(); }

std::vector<float> rope_factors(const GgufFile& file, std::string_view name, int64_t pairs) {
  const GgufTensor* tensor = file.find_tensor(name);
  check_file(tensor != nullptr, FileFault::layout, file.path(), "the tensor {} is missing", name);
  check_file(tensor->dtype == DType::f32 && tensor->bytes.size() == static_cast<size_t>(pairs) * sizeof(float),
             FileFault::layout, file.path(), "{} must hold {} f32 factors, one for each pair of rotated elements", name,
             pairs);
  std::vector<float> factors(static_cast<size_t>(pairs));
  if (pairs > 0) std::memcpy(factors.data(), tensor->bytes.data(), tensor->bytes.size());
  const bool good = std::all_of(factors.begin(), factors.end(), [](float f) { return std::isfinite(f) && f > 0; });
  check_file(good, FileFault::range, file.path(), "{} holds a factor that is not positive", name);
  return factors;
}

// What llama.cpp does with the angle of pair i: divides it by factor_i. Factors of no llama3 scaling are told as a
// longrope scaling whose short and long factors agree: the same frequencies.
Json scaling_of_factors(const std::vector<float>& factors, double theta, double original, int64_t context) {
  if (std::all_of(factors.begin(), factors.end(), [](float f) { return f == 1; })) return nullptr;
  if (const std::optional<Llama3Scaling> s = find_llama3_scaling(factors, theta, original)) {
    return {
        {"rope_type", "llama3"},
        {"factor", s->factor},
        {"low_freq_factor", s->low_freq_factor},
        {"high_freq_factor", s->high_freq_factor},
        {"original_max_position_embeddings", static_cast<int64_t>(std::llround(s->original_max_position_embeddings))}};
  }
  return {{"rope_type", "longrope"}, {"factor", 1.0},          {"attention_factor", 1.0},
          {"short_factor", factors}, {"long_factor", factors}, {"original_max_position_embeddings", context}};
}

Json yarn_scaling(const Metadata& meta, double factor, int64_t context) {
  Json scaling = {
      {"rope_type", "yarn"},
      {"factor", factor},
      {"original_max_position_embeddings", meta.integer("rope.scaling.original_context_length", kContext, context)}};
  for (const char* beta : {"beta_fast", "beta_slow"}) {
    const std::string name = std::string("rope.scaling.yarn_") + beta;
    if (meta.has(name)) scaling[beta] = meta.number(name);
  }
  // llama.cpp multiplies cos and sin by attn_factor * (1 + 0.1 ln factor); the second term is Hugging Face's default.
  if (meta.has("rope.scaling.attn_factor")) {
    scaling["attention_factor"] = meta.number("rope.scaling.attn_factor") * (1 + 0.1 * std::log(factor));
  } else if (meta.has("rope.scaling.yarn_attn_factor")) {
    scaling["attention_factor"] = meta.number("rope.scaling.yarn_attn_factor");
  }
  return scaling;
}

Json rope_scaling(const GgufFile& file, const Metadata& meta, double theta, int64_t head_dim, int64_t context) {
  const double factor =
      meta.has("rope.scaling.factor") ? meta.number("rope.scaling.factor") : meta.number("rope.scale_linear", 0.0);
  check_file(factor >= 0, FileFault::range, file.path(), "the rotary scaling factor must not be negative, got {}",
             factor);
  const bool scaled = factor != 0 && factor != 1;
  const std::string type = meta.string("rope.scaling.type", scaled ? "linear" : "none");
  const int64_t original = meta.integer("rope.scaling.original_context_length", kContext, context),
                pairs = head_dim / 2;
  if (type == "longrope") {
    return {{"rope_type", "longrope"},
            {"attention_factor", meta.number("rope.scaling.attn_factor", 1.0)},
            {"short_factor", rope_factors(file, "rope_factors_short.weight", pairs)},
            {"long_factor", rope_factors(file, "rope_factors_long.weight", pairs)},
            {"original_max_position_embeddings", original}};
  }
  if (file.find_tensor("rope_freqs.weight") != nullptr) {
    const bool hint = meta.has("rope.scaling.original_context_length");
    return scaling_of_factors(rope_factors(file, "rope_freqs.weight", pairs), theta,
                              hint ? static_cast<double>(original) : 0, context);
  }
  if (type == "yarn" && factor > 0) return yarn_scaling(meta, factor, context);
  if (type == "linear" && scaled) return {{"rope_type", "linear"}, {"factor", factor}};
  check_file(type == "none" || type == "linear" || type == "yarn", FileFault::unsupported, file.path(),
             "rotary scaling \"{}\" is not supported; linear, yarn, longrope and llama3 factors are", type);
  return nullptr;
}

bool has_tensor_ending(const GgufFile& file, std::string_view ending) {
  return std::any_of(file.tensors().begin(), file.tensors().end(),
                     [&](const GgufTensor& t) { return t.name.ends_with(ending); });
}

// The type that most bytes are stored in; block-quantized weights count as what they are read as.
std::string_view torch_dtype(const GgufFile& file) {
  std::map<DType, size_t> bytes;
  for (const GgufTensor& t : file.tensors()) {
    if (t.shape.size() > 1) bytes[t.dtype] += t.bytes.size();
  }
  const auto most =
      std::max_element(bytes.begin(), bytes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most == bytes.end()) return "float32";
  return most->first == DType::f16 ? "float16" : most->first == DType::bf16 ? "bfloat16" : "float32";
}

void add_shape(const GgufFile& file, const Metadata& meta, const GgufArchitecture& architecture, Json& config) {
  const GgufHeads heads = gguf_heads(file, architecture);
  const auto add = [&](const char* name, std::string_view key, IntRange range) {
    if (has_model(file) || meta.has(key)) config[name] = meta.integer(key, range);
  };
  add("hidden_size", "embedding_length", kWidth);
  add("intermediate_size", "feed_forward_length", kWidth);
  add("num_hidden_layers", "block_count", kLayers);
  if (heads.heads > 0) {
    config["num_attention_heads"] = heads.heads;
    config["num_key_value_heads"] = heads.kv_heads;
  }
  if (heads.head_dim > 0) {
    config["head_dim"] = heads.head_dim;  // always: Qwen3's default is not hidden_size / heads
  }
  add("max_position_embeddings", "context_length", kContext);
  const char* eps = "attention.layer_norm_rms_epsilon";
  if (has_model(file) || meta.has(eps)) config["rms_norm_eps"] = meta.positive(eps);
  const double theta = meta.positive("rope.freq_base", 10000.0);
  config["rope_theta"] = theta;
  const int64_t context = meta.integer("context_length", kContext, 2048);
  Json scaling = rope_scaling(file, meta, theta, heads.head_dim, context);
  if (!scaling.is_null()) config["rope_scaling"] = std::move(scaling);
}

void add_window(const Metadata& meta, const GgufArchitecture& architecture, Json& config) {
  if (!meta.has("attention.sliding_window")) return;
  const int64_t window = meta.integer("attention.sliding_window", {.min = 0, .max = int64_t{1} << 40});
  if (window == 0) return;
  if (architecture.name == "llama") {  // among its families, Mistral is the one with a window
    config["model_type"] = "mistral";
    config["architectures"] = {"MistralForCausalLM"};
  } else {
    config["use_sliding_window"] = true;
    config["max_window_layers"] = 0;  // every layer
  }
  config["sliding_window"] = window;
}

void add_tensor_facts(const GgufFile& file, const GgufArchitecture& architecture, Json& config) {
  if (!has_model(file)) return;
  config["tie_word_embeddings"] = file.find_tensor("output.weight") == nullptr;
  if (architecture.name != "qwen2") config["attention_bias"] = has_tensor_ending(file, ".attn_q.bias");
  if (architecture.name == "llama") config["mlp_bias"] = has_tensor_ending(file, ".ffn_up.bias");
  config["torch_dtype"] = torch_dtype(file);
}

void add_vocabulary(const GgufFile& file, std::string_view prefix, Json& config) {
  const GgufTensor* embedding = file.find_tensor("token_embd.weight");
  const GgufField* tokens = file.find("tokenizer.ggml.tokens");
  if (embedding != nullptr && embedding->shape.size() == 2) {
    config["vocab_size"] = embedding->shape[0];
  } else if (const std::string key = fmt::format("{}.vocab_size", prefix); file.has(key)) {
    config["vocab_size"] = file.get_int(key, {.min = 1, .max = int64_t{1} << 31});
  } else if (tokens != nullptr && tokens->type == GgufType::array) {
    config["vocab_size"] = tokens->count;
  }
  for (const char* name : {"bos", "eos", "pad"}) {
    if (const std::optional<int64_t> id = gguf_special_id(file, name)) config[fmt::format("{}_token_id", name)] = *id;
  }
}

}  // namespace

GgufHeads gguf_heads(const GgufFile& file, const GgufArchitecture& architecture) {
  const Metadata meta(file, architecture.name);
  constexpr IntRange kHeads = {.min = 1, .max = 1 << 16};
  GgufHeads h;
  if (!has_model(file) && !meta.has("attention.head_count")) return h;
  h.heads = meta.integer("attention.head_count", kHeads);
  h.kv_heads = meta.integer("attention.head_count_kv", kHeads, h.heads);
  check_file(h.kv_heads <= h.heads && h.heads % h.kv_heads == 0, FileFault::range, file.path(),
             "{} key-value heads do not divide {} heads", h.kv_heads, h.heads);
  if (meta.has("attention.key_length")) {
    h.head_dim = meta.integer("attention.key_length", kWidth);
    const int64_t value_length = meta.integer("attention.value_length", kWidth, h.head_dim);
    check_file(value_length == h.head_dim, FileFault::unsupported, file.path(),
               "keys of {} and values of {} elements a head differ", h.head_dim, value_length);
  } else if (has_model(file) || meta.has("embedding_length")) {
    const int64_t width = meta.integer("embedding_length", kWidth);
    check_file(width % h.heads == 0, FileFault::range, file.path(), "{} heads do not divide the width {}", h.heads,
               width);
    h.head_dim = width / h.heads;
  } else {
    return h;
  }
  const int64_t rotated = meta.integer("rope.dimension_count", kWidth, h.head_dim);
  check_file(rotated == h.head_dim && rotated % 2 == 0, FileFault::range, file.path(),
             "these models rotate whole heads of an even width: \"{}\" is {}, a head has {} elements",
             meta.key("rope.dimension_count"), rotated, h.head_dim);
  return h;
}

Json gguf_config(const GgufFile& file, const GgufArchitecture* architecture) {
  Json config = Json::object();
  const std::string name = file.get_string("general.architecture");
  const Metadata meta(file, name);
  if (architecture == nullptr) {
    config["model_type"] = name;
    add_vocabulary(file, name, config);
    return config;
  }
  config["architectures"] = {architecture->class_name};
  config["model_type"] = architecture->model_type;
  if (file.has("general.name")) config["_name_or_path"] = file.get_string("general.name");
  if (meta.has("expert_count") && meta.integer("expert_count", {.min = 0, .max = 1 << 16}) > 0) {
    config["model_type"] = "mixtral";  // the same architecture name with other tensors: a model of its own
    config["architectures"] = {"MixtralForCausalLM"};
  }
  config["hidden_act"] = "silu";
  add_shape(file, meta, *architecture, config);
  add_window(meta, *architecture, config);
  add_tensor_facts(file, *architecture, config);
  add_vocabulary(file, name, config);
  return config;
}

std::string gguf_side_file(const GgufFile& file, std::string_view name) {
  if (name == "chat_template.jinja") return file.get_string("tokenizer.chat_template", "");
  Json json = name == "generation_config.json"    ? gguf_generation_config(file)
              : name == "tokenizer_config.json"   ? gguf_tokenizer_config(file)
              : name == "special_tokens_map.json" ? gguf_special_tokens(file)
                                                  : Json();
  return json.empty() ? std::string() : dump_json(json) + "\n";
}

bool is_gguf_rope_tensor(std::string_view name) {
  return name == "rope_freqs.weight" || name == "rope_factors_long.weight" || name == "rope_factors_short.weight" ||
         name.ends_with(".attn_rot_embd.weight") || name.ends_with(".attn_rot_embd");
}

}  // namespace caravan::formats
