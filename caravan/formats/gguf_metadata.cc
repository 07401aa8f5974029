#include "caravan/formats/gguf_metadata.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>

#include "caravan/base/error.h"
#include "caravan/formats/gguf_rotary.h"

namespace caravan::formats {
namespace {

constexpr std::string_view kWhere = "config.json";
constexpr IntRange kCount = {.min = 1, .max = std::numeric_limits<int32_t>::max()};

// llama.h's llama_ftype: "mostly" this type, one-dimensional tensors apart.
uint32_t file_type(DType dtype) {
  switch (dtype) {
    case DType::f16:
      return 1;
    case DType::q4_0:
      return 2;
    case DType::q4_1:
      return 3;
    case DType::q8_0:
      return 7;
    case DType::q5_0:
      return 8;
    case DType::q5_1:
      return 9;
    case DType::q2_k:
      return 10;
    case DType::q3_k:
      return 12;
    case DType::q4_k:
      return 15;
    case DType::q5_k:
      return 17;
    case DType::q6_k:
      return 18;
    case DType::iq4_nl:
      return 25;
    case DType::iq4_xs:
      return 30;
    case DType::bf16:
      return 32;
    default:
      return 0;
  }
}

DType most_used_type(std::span<const TensorInfo> plan) {
  std::map<DType, int64_t> bytes;
  for (const TensorInfo& t : plan) {
    if (t.shape.size() > 1) bytes[t.dtype] += tensor_bytes(t.dtype, t.shape, t.name);
  }
  const auto most =
      std::max_element(bytes.begin(), bytes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == bytes.end() ? DType::f32 : most->first;
}

// The rotary settings in one object, wherever the config has them.
struct Rotary {
  double theta = 10000;
  std::string type = "default";
  Json scaling = Json::object();
};

Rotary rotary_of(const Json& config) {
  Rotary r;
  const Json* parameters = find_member(config, "rope_parameters");
  const Json* scaling = parameters != nullptr ? parameters : find_member(config, "rope_scaling");
  if (scaling != nullptr) {
    check_file(scaling->is_object(), FileFault::type, kWhere, "the rotary settings must be an object");
    r.scaling = *scaling;
  }
  r.theta = get_number(config, "rope_theta", kWhere, 10000.0);
  r.theta = get_number(r.scaling, "rope_theta", kWhere, r.theta);
  r.type = get_string(r.scaling, "type", kWhere, "default");
  r.type = get_string(r.scaling, "rope_type", kWhere, r.type);
  check_file(static_cast<float>(r.theta) > 0, FileFault::range, kWhere, "rope_theta must be positive, got {}", r.theta);
  return r;
}

class ModelBuilder {
 public:
  ModelBuilder(const Json& config, std::span<const TensorInfo> plan) : config_(config), plan_(plan) {}

  GgufModel build() {
    const std::string model_type = get_string(config_, "model_type", kWhere);
    model_.architecture = find_gguf_architecture_of_model_type(model_type);
    check(model_.architecture != nullptr, ErrorCode::unsupported,
          "GGUF cannot hold the model type \"{}\" yet; it can hold: {}", model_type, gguf_model_types());
    check_computable();
    add_general();
    add_shape();
    add_rotary();
    return std::move(model_);
  }

 private:
  void set(std::string_view key, GgufValue value) {  // ARCHITECTURE.key
    model_.fields.emplace_back(fmt::format("{}.{}", model_.architecture->name, key), std::move(value));
  }
  int64_t integer(std::string_view key, std::optional<int64_t> otherwise = std::nullopt) const {
    return get_int(config_, key, kWhere, kCount, otherwise);
  }
  void set_int(std::string_view key, int64_t value) { set(key, static_cast<uint32_t>(value)); }
  void set_number(std::string_view key, double value) { set(key, static_cast<float>(value)); }

  void check_computable() const {
    const std::string activation = get_string(config_, "hidden_act", kWhere, "silu");
    check(activation == "silu" || activation == "swish", ErrorCode::unsupported,
          "llama.cpp computes this architecture with silu, the config asks for \"{}\"", activation);
    const double partial = get_number(config_, "partial_rotary_factor", kWhere, 1.0);
    check(partial == 1.0, ErrorCode::unsupported,
          "llama.cpp rotates whole heads in this architecture; partial_rotary_factor is {}", partial);
    const Json* prompt = find_member(config_, "item_prompt");
    check(
        prompt == nullptr || !get_bool(*prompt, "prefix", kWhere, false), ErrorCode::unsupported,
        "a GGUF's model lets no token see a later one, and this one was trained to read its prompts in both directions "
        "(\"prefix\" in \"item_prompt\")");
  }

  void add_general() {
    std::string name = get_string(config_, "_name_or_path", kWhere, "");
    while (name.ends_with('/')) name.pop_back();
    name = name.substr(name.find_last_of('/') + 1);
    model_.fields.emplace_back("general.architecture", std::string(model_.architecture->name));
    model_.fields.emplace_back("general.type", std::string("model"));
    model_.fields.emplace_back("general.name", name.empty() ? std::string(model_.architecture->model_type) : name);
    const DType dtype = most_used_type(plan_);
    model_.fields.emplace_back("general.file_type", file_type(dtype));
    model_.fields.emplace_back("general.quantization_version", uint32_t{2});  // ggml's, of the block layouts
  }

  void add_shape() {
    model_.heads = integer("num_attention_heads");
    model_.kv_heads = integer("num_key_value_heads", model_.heads);
    check_file(model_.heads % model_.kv_heads == 0, FileFault::range, kWhere,
               "{} key-value heads do not divide {} heads", model_.kv_heads, model_.heads);
    const int64_t width = integer("hidden_size");
    head_dim_ = integer("head_dim",
                        model_.architecture->model_type == "qwen3" ? 128 : std::max<int64_t>(1, width / model_.heads));
    check_file(head_dim_ % 2 == 0, FileFault::range, kWhere, "the width of a head must be even, got {}", head_dim_);
    set_int("block_count", integer("num_hidden_layers"));
    context_ = integer("max_position_embeddings", 2048);
    set_int("context_length", context_);
    set_int("embedding_length", width);
    set_int("feed_forward_length", integer("intermediate_size"));
    set_int("attention.head_count", model_.heads);
    set_int("attention.head_count_kv", model_.kv_heads);
    set_number("attention.layer_norm_rms_epsilon", get_number(config_, "rms_norm_eps", kWhere, 1e-6));
    set_int("attention.key_length", head_dim_);
    set_int("attention.value_length", head_dim_);
    set_int("rope.dimension_count", head_dim_);
    if (find_member(config_, "vocab_size") != nullptr) set_int("vocab_size", integer("vocab_size"));
    const bool windowed = get_bool(config_, "use_sliding_window", kWhere, model_.architecture->name == "llama");
    if (windowed && find_member(config_, "sliding_window") != nullptr) {
      set_int("attention.sliding_window", integer("sliding_window"));
    }
  }

  void add_rotary() {
    const Rotary r = rotary_of(config_);
    set_number("rope.freq_base", r.theta);
    if (r.type == "default") return;
    if (r.type == "linear") return add_linear(r);
    if (r.type == "yarn") return add_yarn(r);
    const bool takes_factors = model_.architecture->name == "llama";
    check(takes_factors || (r.type != "llama3" && r.type != "longrope" && r.type != "su"), ErrorCode::unsupported,
          "llama.cpp does not read {} scaling in the architecture {}", r.type, model_.architecture->name);
    if (r.type == "llama3") return add_llama3(r);
    if (r.type == "longrope" || r.type == "su") return add_longrope(r);
    fail(ErrorCode::unsupported, "GGUF has no rotary scaling \"{}\"; it has linear, yarn, longrope and llama3", r.type);
  }

  double factor_of(const Rotary& r) const {
    const double factor = get_number(r.scaling, "factor", kWhere);
    check_file(factor > 0, FileFault::range, kWhere, "the rotary scaling factor must be positive, got {}", factor);
    return factor;
  }
  int64_t original_of(const Rotary& r) const {
    const int64_t top = get_int(config_, "original_max_position_embeddings", kWhere, kCount, context_);
    return get_int(r.scaling, "original_max_position_embeddings", kWhere, kCount, top);
  }

  void add_linear(const Rotary& r) {
    set("rope.scaling.type", std::string("linear"));
    set_number("rope.scaling.factor", factor_of(r));
  }

  // llama.cpp multiplies cos and sin by attn_factor * (1 + 0.1 ln factor): attn_factor carries what the config has
  // beyond.
  void add_yarn(const Rotary& r) {
    const double factor = factor_of(r), usual = 1 + 0.1 * std::log(std::max(factor, 1.0));
    check(get_bool(r.scaling, "truncate", kWhere, true), ErrorCode::unsupported,
          "llama.cpp always truncates yarn's correction range");
    double attention = get_number(r.scaling, "attention_factor", kWhere, 0.0);
    const double mscale = get_number(r.scaling, "mscale", kWhere, 0.0),
                 all_dim = get_number(r.scaling, "mscale_all_dim", kWhere, 0.0);
    if (attention == 0 && mscale != 0 && all_dim != 0) {
      attention = (1 + 0.1 * mscale * std::log(factor)) / (1 + 0.1 * all_dim * std::log(factor));
    }
    set("rope.scaling.type", std::string("yarn"));
    set_number("rope.scaling.factor", factor);
    set_int("rope.scaling.original_context_length", original_of(r));
    if (attention != 0) set_number("rope.scaling.attn_factor", attention / usual);
    for (const char* beta : {"beta_fast", "beta_slow"}) {
      if (find_member(r.scaling, beta) != nullptr) {
        set_number(std::string("rope.scaling.yarn_") + beta, get_number(r.scaling, beta, kWhere));
      }
    }
  }

  void add_llama3(const Rotary& r) {
    const Llama3Scaling scaling{.factor = factor_of(r),
                                .low_freq_factor = get_number(r.scaling, "low_freq_factor", kWhere),
                                .high_freq_factor = get_number(r.scaling, "high_freq_factor", kWhere),
                                .original_max_position_embeddings = static_cast<double>(original_of(r))};
    check_file(scaling.low_freq_factor > 0 && scaling.high_freq_factor > scaling.low_freq_factor, FileFault::range,
               kWhere, "high_freq_factor must exceed low_freq_factor, and both be positive");
    model_.extra_tensors.push_back({"rope_freqs.weight", llama3_frequency_factors(scaling, r.theta, head_dim_ / 2)});
  }

  std::vector<float> factors_of(const Rotary& r, const char* key) const {
    const Json* list = find_member(r.scaling, key);
    const auto pairs = static_cast<size_t>(head_dim_ / 2);
    check_file(list != nullptr && list->is_array() && list->size() == pairs, FileFault::type, kWhere,
               "\"{}\" must be a list of {} numbers", key, pairs);
    std::vector<float> factors;
    for (const Json& item : *list) {
      check_file(item.is_number() && item.get<double>() > 0, FileFault::range, kWhere,
                 "\"{}\" holds {}, not a positive number", key, dump_json(item, -1));
      factors.push_back(item.get<float>());
    }
    return factors;
  }

  void add_longrope(const Rotary& r) {
    std::vector<float> short_factors = factors_of(r, "short_factor"), long_factors = factors_of(r, "long_factor");
    const auto original = static_cast<double>(original_of(r));
    const double factor = get_number(r.scaling, "factor", kWhere, static_cast<double>(context_) / original);
    const double usual = factor > 1 && original > 1 ? std::sqrt(1 + std::log(factor) / std::log(original)) : 1.0;
    const double attention = get_number(r.scaling, "attention_factor", kWhere, usual);
    if (short_factors == long_factors && attention == 1) {  // one set of frequencies for every length
      model_.extra_tensors.push_back({"rope_freqs.weight", std::move(short_factors)});
      return;
    }
    set("rope.scaling.type", std::string("longrope"));
    set_int("rope.scaling.original_context_length", original_of(r));
    set_number("rope.scaling.attn_factor", attention);
    model_.extra_tensors.push_back({"rope_factors_long.weight", std::move(long_factors)});
    model_.extra_tensors.push_back({"rope_factors_short.weight", std::move(short_factors)});
  }

  const Json& config_;
  std::span<const TensorInfo> plan_;
  int64_t head_dim_ = 0, context_ = 0;
  GgufModel model_;
};

}  // namespace

GgufModel gguf_model(const Json& config, std::span<const TensorInfo> plan) {
  return ModelBuilder(config, plan).build();
}

}  // namespace caravan::formats
