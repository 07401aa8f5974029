// config.json from params.json. What params.json does not say (the context length, the special ids) follows from the
// generation of the model, as in transformers' convert_llama_weights_to_hf.py; that script asks its user for it.
#include "caravan/base/dtype_names.h"
#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/formats/meta_checkpoint.h"

namespace caravan::formats {
namespace {

constexpr int64_t kLlama3Vocab = 128'000;

double number_or(const Json& params, std::string_view key, double otherwise) {
  return get_number(params, key, "params.json", otherwise);
}

// LLaMA 1: 2048 (its norm_eps is 1e-6), 2: 4096, Code Llama: 16384 (a larger rotary base), 3: 8192, 3.1 on: 131072.
int64_t context_length(const Json& params, int64_t vocab_size) {
  if (get_bool(params, "use_scaled_rope", "params.json", false)) return 131'072;
  if (vocab_size >= kLlama3Vocab) return 8192;
  if (number_or(params, "rope_theta", 10'000) > 10'000) return 16'384;
  return number_or(params, "norm_eps", 1e-5) < 5e-6 ? 2048 : 4096;
}

// The factor is 32 for LLaMA 3.2 (its text models are the ones narrower than 4096) and 8 for 3.1 and 3.3.
Json llama3_scaling(const Json& params, int64_t dim) {
  return {{"rope_type", "llama3"},
          {"factor", number_or(params, "rope_scaling_factor", dim < 4096 ? 32 : 8)},
          {"low_freq_factor", number_or(params, "rope_low_freq_factor", 1)},
          {"high_freq_factor", number_or(params, "rope_high_freq_factor", 4)},
          {"original_max_position_embeddings", 8192}};
}

}  // namespace

MetaParams read_meta_params(const std::string& path) {
  const Json file = parse_json(read_file(path, 1 << 20), path);
  const Json* inner = find_member(file, "model");
  const Json& json = inner != nullptr && inner->is_object() ? *inner : file;
  check_file(json.is_object(), FileFault::type, path, "params.json must hold an object");
  for (const char* key : {"moe", "vision_model", "vision_encoder", "vision_chunk_size"}) {
    check_file(find_member(json, key) == nullptr, FileFault::unsupported, path,
               "\"{}\": only text models with dense layers are read from Meta's layout", key);
  }
  constexpr int64_t kMax = 1 << 20;
  MetaParams params{.dim = get_int(json, "dim", path, {1, kMax}),
                    .layers = get_int(json, "n_layers", path, {1, 10'000}),
                    .heads = get_int(json, "n_heads", path, {1, kMax}),
                    .json = json};
  params.kv_heads = get_int(json, "n_kv_heads", path, {1, params.heads}, params.heads);
  check_file(params.dim % params.heads == 0 || json.contains("head_dim"), FileFault::range, path,
             "dim {} is no multiple of n_heads {}", params.dim, params.heads);
  params.head_dim = get_int(json, "head_dim", path, {2, kMax}, params.dim / params.heads);
  check_file(params.head_dim % 2 == 0 && params.heads % params.kv_heads == 0, FileFault::range, path,
             "heads of width {}, {} of them for {} key/value heads", params.head_dim, params.heads, params.kv_heads);
  return params;
}

Json make_meta_config(const MetaParams& params, int64_t vocab_size, int64_t intermediate_size, bool tied, DType dtype) {
  const Json& json = params.json;
  const Json* window = find_member(json, "sliding_window");
  const bool llama3 = vocab_size >= kLlama3Vocab;
  Json config = {{"architectures", {window != nullptr ? "MistralForCausalLM" : "LlamaForCausalLM"}},
                 {"model_type", window != nullptr ? "mistral" : "llama"},
                 {"hidden_size", params.dim},
                 {"intermediate_size", intermediate_size},
                 {"num_hidden_layers", params.layers},
                 {"num_attention_heads", params.heads},
                 {"num_key_value_heads", params.kv_heads},
                 {"head_dim", params.head_dim},
                 {"vocab_size", vocab_size},
                 {"hidden_act", "silu"},
                 {"rms_norm_eps", number_or(json, "norm_eps", 1e-5)},
                 {"rope_theta", number_or(json, "rope_theta", 10'000)},
                 {"max_position_embeddings",
                  get_int(json, "max_seq_len", "params.json", {1, 1 << 30}, context_length(json, vocab_size))},
                 {"attention_bias", false},
                 {"mlp_bias", false},
                 {"tie_word_embeddings", tied},
                 {"bos_token_id", llama3 ? 128'000 : 1},
                 {"eos_token_id", llama3 ? 128'001 : 2},
                 {"torch_dtype", numpy_name(dtype)}};
  if (window != nullptr) config["sliding_window"] = *window;
  if (get_bool(json, "use_scaled_rope", "params.json", false))
    config["rope_scaling"] = llama3_scaling(json, params.dim);
  return config;
}

}  // namespace caravan::formats
