#include "caravan/train/model_settings.h"

#include <algorithm>

#include "caravan/base/asked_keys.h"
#include "caravan/base/error.h"
#include "caravan/base/nearest.h"
#include "caravan/models/load.h"
#include "caravan/train/config.h"
#include "caravan/train/toml.h"

namespace caravan::train {
namespace {

struct NumberSetting {
  std::string_view key;
  Limits limits;
};

// Beyond these no model can learn: all weights 0, all activations 0, a first step that overflows.
constexpr NumberSetting kNumbers[] = {
    {"initializer_range", {.min = 0, .max = 100, .above = true}},
    {"rms_norm_eps", {.min = 0, .max = 1}},
    {"layer_norm_eps", {.min = 0, .max = 1}},
};

constexpr std::string_view kTokenIds[] = {"pad_token_id", "bos_token_id", "eos_token_id"};

constexpr std::string_view kSection = "model";  // of a run's settings

std::string named(std::string_view key) { return fmt::format("{}.{}", kSection, key); }

// model: [range] "hidden_size" must lie in [1, 9], got 0 -> model.hidden_size must lie in [1, 9], got 0
std::string in_settings_words(const Error& error) {
  std::string_view what = error.what();
  const std::string place = fmt::format("{}: [{}] ", kSection, to_string(error.fault()));
  if (what.starts_with(place)) what.remove_prefix(place.size());
  const std::string_view key =
      what.starts_with('"') ? what.substr(1, what.find('"', 1) - 1) : what.substr(0, what.find_first_of(" ,"));
  const std::vector<std::string> known = model_keys();
  if (std::find(known.begin(), known.end(), key) == known.end()) return fmt::format("{}: {}", kSection, what);
  const std::string_view rest = what.substr(what.starts_with('"') ? key.size() + 2 : key.size());
  return named(key) + std::string(rest);
}

// Keys of a config.json that say what a model is, not how it computes; and a run's own item_prompt.
constexpr std::string_view kDescriptions[] = {
    "_name_or_path", "architectures",        "dtype",     "id2label",   "label2id", "pretraining_tp", "torch_dtype",
    "num_labels",    "transformers_version", "use_cache", "item_prompt"};

// What a run reads of model.* beside what the model is made from.
constexpr std::string_view kOfARun[] = {"initializer_range", "vocab_size", "pad_token_id", "bos_token_id",
                                        "eos_token_id"};

// A key that the family asks for under no circumstances of this config says nothing.
void check_keys(const Json& settings, const AskedKeys& asked) {
  std::vector<std::string> known = asked.all();
  known.insert(known.end(), std::begin(kDescriptions), std::end(kDescriptions));
  known.insert(known.end(), std::begin(kOfARun), std::end(kOfARun));
  for (const auto& [key, value] : settings.items()) {
    check(std::find(known.begin(), known.end(), key) != known.end(), ErrorCode::invalid_argument,
          "{}: a model of model_type \"{}\" has no such setting{}; leave it out", named(key),
          get_string(settings, "model_type", "model"), did_you_mean(key, known));
  }
}

bool is_token_id(const Json& value) { return value.is_number_integer() && value.get<int64_t>() >= -1; }

}  // namespace

void check_model_settings(const Json& settings) {
  for (const NumberSetting& number : kNumbers) {
    const Json* value = find_member(settings, number.key);
    if (value == nullptr) continue;
    check(value->is_number(), ErrorCode::invalid_argument, "{}: a number is expected, got {}", named(number.key),
          toml_value(*value));
    check_limits(named(number.key), value->get<double>(), number.limits);
  }
  for (const std::string_view key : kTokenIds) {
    const Json* value = find_member(settings, key);
    const bool several = value != nullptr && value->is_array() && key == "eos_token_id";
    check(value == nullptr || (several ? std::all_of(value->begin(), value->end(), is_token_id) : is_token_id(*value)),
          ErrorCode::invalid_argument, "{}: a token's id is expected, or -1 for none, got {}", named(key),
          toml_value(value == nullptr ? Json() : *value));
  }
  Json whole = settings;
  if (find_member(whole, "vocab_size") == nullptr) whole["vocab_size"] = 1;
  const AskedKeys asked;
  make_model_of_settings(whole);
  check_keys(settings, asked);
}

// An id of padding beyond the vocabulary is common: it marks what is never looked up.
void check_token_ids(const Json& settings) {
  const int64_t vocabulary = get_int(settings, "vocab_size", "model");
  for (const std::string_view key : {"bos_token_id", "eos_token_id"}) {
    const Json* value = find_member(settings, key);
    if (value == nullptr) continue;
    for (const Json& id : value->is_array() ? *value : Json::array({*value})) {
      check(id.get<int64_t>() < vocabulary, ErrorCode::invalid_argument, "{} = {} lies outside the vocabulary of {}",
            named(key), id.get<int64_t>(), vocabulary);
    }
  }
}

std::unique_ptr<models::Head> make_model_of_settings(const Json& settings) {
  try {
    return models::make_head(settings, kSection);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::corrupt_file && error.code() != ErrorCode::unsupported) throw;
    throw Error(ErrorCode::invalid_argument, in_settings_words(error));
  }
}

}  // namespace caravan::train
