#include "caravan/codes/text_encoder.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/text/jinja_text.h"
#include "caravan/text/unicode.h"

namespace caravan::codes {
namespace {

// Tokens of a batch: enough for full-speed GEMMs, few enough for the activations to stay in the cache. Measured on two
// AVX-512 cores with MiniLM and titles of 20 tokens: 1024 and 2048 are equally fast, 256 and 16384 slower.
constexpr int64_t kBatchTokens = 2048;

std::optional<Json> read_optional(const std::string& path) {
  if (!file_exists(path)) return std::nullopt;
  return parse_json(read_file(path), path);
}

text::Tokenizer load_tokenizer(const formats::Checkpoint& checkpoint) {
  const std::string json = checkpoint.side_file("tokenizer.json");
  check(!json.empty(), ErrorCode::not_found, "{}: no tokenizer.json beside the encoder", checkpoint.path());
  return text::Tokenizer::from_json(json, checkpoint.path() + "/tokenizer.json");
}

}  // namespace

TextEncoder::TextEncoder(const std::string& folder) {
  const auto checkpoint = formats::Checkpoint::open(folder);
  model_ = models::load_bert(*checkpoint);
  tokenizer_ = std::make_unique<text::Tokenizer>(load_tokenizer(*checkpoint));
  max_length_ = model_->config().max_positions;
  read_prompt(folder);
  read_stages(folder);
  tokenizer_->set_truncation(text::Truncation{.max_length = static_cast<size_t>(max_length_)});
  tokenizer_->set_padding(std::nullopt);
}

TextEncoder::~TextEncoder() = default;

void TextEncoder::read_prompt(const std::string& folder) {
  const std::string path = folder + "/config_sentence_transformers.json";
  const auto config = read_optional(path);
  if (!config) return;
  const Json* name = find_member(*config, "default_prompt_name");
  if (name == nullptr || name->is_null()) return;
  const std::string wanted = get_string(*config, "default_prompt_name", path);
  const Json* prompts = find_member(*config, "prompts");
  const bool known = prompts != nullptr && prompts->is_object() && find_member(*prompts, wanted) != nullptr;
  check_file(known, FileFault::layout, path, "default_prompt_name: '{}' is not in \"prompts\"", wanted);
  prompt_ = get_string(*prompts, wanted, path);
}

void TextEncoder::read_stages(const std::string& folder) {
  if (const auto limits = read_optional(folder + "/sentence_bert_config.json")) {
    max_length_ = std::min(max_length_, get_int(*limits, "max_seq_length", folder, {.min = 3}, max_length_));
    lower_case_ = get_bool(*limits, "do_lower_case", folder, false);
  }
  const auto modules = read_optional(folder + "/modules.json");
  if (!modules) return;
  check_file(modules->is_array(), FileFault::type, folder + "/modules.json", "expected a list of stages");
  for (const Json& module : *modules) {
    const std::string type = get_string(module, "type", folder + "/modules.json");
    if (type.ends_with(".Transformer")) continue;
    if (type.ends_with(".Normalize")) {
      normalize_ = true;
      continue;
    }
    check(type.ends_with(".Pooling"), ErrorCode::unsupported,
          "{}: a stage of type {}; Transformer, Pooling and "
          "Normalize are known",
          folder, type);
    const std::string own = folder + "/" + get_string(module, "path", folder) + "/config.json";
    const Json config = parse_json(read_file(own), own);
    const std::pair<const char*, Pooling> modes[] = {{"pooling_mode_mean_tokens", Pooling::mean},
                                                     {"pooling_mode_cls_token", Pooling::cls},
                                                     {"pooling_mode_max_tokens", Pooling::max},
                                                     {"pooling_mode_mean_sqrt_len_tokens", Pooling::mean_sqrt_length}};
    check(prompt_.empty() || get_bool(config, "include_prompt", own, true), ErrorCode::unsupported,
          "{}: include_prompt is false, but the prompt of default_prompt_name can only be pooled with the text", own);
    int chosen = 0;
    for (const auto& [key, mode] : modes) {
      if (!get_bool(config, key, own, false)) continue;
      pooling_ = mode;
      ++chosen;
    }
    check(chosen == 1, ErrorCode::unsupported, "{}: one pooling mode of cls, mean, max and mean_sqrt_len is expected",
          own);
  }
}

Tensor TextEncoder::pool(const Tensor& hidden) const {
  switch (pooling_) {
    case Pooling::cls:
      return hidden[0];
    case Pooling::max:
      return hidden.amax(0);
    case Pooling::mean_sqrt_length:
      return hidden.sum(0) / std::sqrt(static_cast<double>(hidden.size(0)));
    case Pooling::mean:
      break;
  }
  return hidden.mean(0);
}

Tensor TextEncoder::encode(std::span<const std::string> texts, const Progress& progress) {
  const torch::NoGradGuard no_grad;
  Tensor out = at::empty({std::ssize(texts), width()}, at::kFloat);
  std::vector<std::string> inputs;
  for (const std::string& own : texts) {
    inputs.push_back(prompt_ + own);
    if (lower_case_) inputs.back() = text::jinja::lower(text::repair_utf8(inputs.back()));
  }
  const auto encodings = tokenizer_->encode_batch(inputs, {.details = false}, at::get_num_threads());
  std::vector<int64_t> order(texts.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return encodings[a].ids.size() > encodings[b].ids.size();  // the longest first: the time left is overestimated
  });
  for (size_t at = 0; at < order.size();) {
    const size_t first = at;
    std::vector<int64_t> lengths, ids;
    while (at < order.size() &&
           (at == first || std::ssize(ids) + std::ssize(encodings[order[at]].ids) <= kBatchTokens)) {
      const auto& own = encodings[order[at++]].ids;
      lengths.push_back(std::ssize(own));
      ids.insert(ids.end(), own.begin(), own.end());
    }
    check(std::find(lengths.begin(), lengths.end(), 0) == lengths.end(), ErrorCode::unsupported,
          "the encoder's tokenizer makes no token of an empty text");
    nn::Step step = nn::Step::packed(lengths);
    const Tensor hidden = (*model_)(at::tensor(ids, at::kLong), step);  // [T, C]
    for (size_t b = 0; b < lengths.size(); ++b) {
      Tensor pooled = pool(hidden.slice(0, step.starts[b], step.starts[b + 1]));
      if (normalize_) pooled = pooled / pooled.norm().clamp_min(1e-12);
      out[order[first + b]].copy_(pooled);
    }
    if (progress) progress(at, order.size());
  }
  return out;
}

}  // namespace caravan::codes
