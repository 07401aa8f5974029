// One table of keys serves reading, writing and resetting. Checks follow transformers' GenerationConfig.validate and
// the constructors of its logits processors.
#include "caravan/generate/config.h"

#include <cmath>
#include <functional>

#include "caravan/base/error.h"

namespace caravan::generate {
namespace {

struct Place {
  std::string_view where, key;
};

[[noreturn]] void wrong_type(const Place& at, std::string_view expected, const Json& value) {
  fail(ErrorCode::invalid_argument, "{}: {} must be {}, got {}", at.where, at.key, expected,
       dump_json(value, -1).substr(0, 80));
}

void read(const Json& value, bool& to, const Place& at) {
  if (!value.is_boolean()) wrong_type(at, "true or false", value);
  to = value.get<bool>();
}

void read(const Json& value, double& to, const Place& at) {
  if (!value.is_number()) wrong_type(at, "a number", value);
  to = value.get<double>();
}

void read(const Json& value, int64_t& to, const Place& at) {
  const bool whole = value.is_number_float() && value.get<double>() == std::floor(value.get<double>()) &&
                     std::abs(value.get<double>()) < 9e15;
  if (!value.is_number_integer() && !whole) wrong_type(at, "an integer", value);
  if (value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX) wrong_type(at, "a smaller integer", value);
  to = whole ? static_cast<int64_t>(value.get<double>()) : value.get<int64_t>();
}

void read(const Json& value, uint64_t& to, const Place& at) {
  if (!value.is_number_integer()) wrong_type(at, "an integer", value);
  if (!value.is_number_unsigned() && value.get<int64_t>() < 0) wrong_type(at, "an integer from 0 on", value);
  to = value.get<uint64_t>();
}

void read(const Json& value, int32_t& to, const Place& at) {
  int64_t wide = 0;
  read(value, wide, at);
  if (wide < INT32_MIN || wide > INT32_MAX) wrong_type(at, "a token id", value);
  to = static_cast<int32_t>(wide);
}

void read(const Json& value, std::string& to, const Place& at) {
  if (!value.is_string()) wrong_type(at, "a string", value);
  to = value.get<std::string>();
}

void read(const Json& value, EarlyStopping& to, const Place& at) {
  if (value.is_boolean()) {
    to = value.get<bool>() ? EarlyStopping::yes : EarlyStopping::no;
  } else if (value == "never") {
    to = EarlyStopping::never;
  } else {
    wrong_type(at, "true, false or \"never\"", value);
  }
}

// transformers accepts one item where a list is meant: eos_token_id, stop_strings, forced_eos_token_id.
template <class T>
void read(const Json& value, std::vector<T>& to, const Place& at) {
  to.clear();
  if (!value.is_array()) {
    if (value.is_object()) wrong_type(at, "a list", value);
    read(value, to.emplace_back(), at);
    return;
  }
  for (const Json& item : value) read(item, to.emplace_back(), at);
}

template <class A, class B>
void read(const Json& value, std::pair<A, B>& to, const Place& at) {
  if (!value.is_array() || value.size() != 2) wrong_type(at, "a list of two", value);
  read(value[0], to.first, at);
  read(value[1], to.second, at);
}

template <class T>
void read(const Json& value, std::optional<T>& to, const Place& at) {
  read(value, to.emplace(), at);
}

template <class T>
Json written(const T& value) {
  return Json(value);
}
Json written(EarlyStopping value) {
  return value == EarlyStopping::never ? Json("never") : Json(value == EarlyStopping::yes);
}
template <class A, class B>
Json written(const std::pair<A, B>& value) {
  return Json::array({written(value.first), written(value.second)});
}
template <class A, class B>
Json written(const std::vector<std::pair<A, B>>& values) {
  Json list = Json::array();
  for (const auto& value : values) list.push_back(written(value));
  return list;
}
template <class T>
Json written(const std::optional<T>& value) {
  return value ? written(*value) : Json(nullptr);
}

struct Field {
  std::string_view name;
  std::function<void(GenerationConfig&, const Json&, const Place&)> set;
  std::function<Json(const GenerationConfig&)> get;
};

template <class T>
Field field(std::string_view name, T GenerationConfig::*member) {
  return {name,
          [member](GenerationConfig& config, const Json& value, const Place& at) {
            if (value.is_null()) {
              config.*member = GenerationConfig().*member;
            } else {
              read(value, config.*member, at);
            }
          },
          [member](const GenerationConfig& config) { return written(config.*member); }};
}

const std::vector<Field>& fields() {
  using C = GenerationConfig;
#define FIELD(name) field(#name, &C::name)
  static const std::vector<Field> list = {FIELD(max_length),
                                          FIELD(max_new_tokens),
                                          FIELD(min_length),
                                          FIELD(min_new_tokens),
                                          FIELD(max_time),
                                          FIELD(stop_strings),
                                          FIELD(do_sample),
                                          FIELD(num_beams),
                                          FIELD(num_return_sequences),
                                          FIELD(early_stopping),
                                          FIELD(length_penalty),
                                          FIELD(num_beam_groups),
                                          FIELD(diversity_penalty),
                                          FIELD(penalty_alpha),
                                          FIELD(prompt_lookup_num_tokens),
                                          FIELD(max_matching_ngram_size),
                                          FIELD(num_assistant_tokens),
                                          FIELD(num_assistant_tokens_schedule),
                                          FIELD(assistant_confidence_threshold),
                                          FIELD(seed),
                                          FIELD(temperature),
                                          FIELD(top_k),
                                          FIELD(top_p),
                                          FIELD(min_p),
                                          FIELD(top_h),
                                          FIELD(typical_p),
                                          FIELD(epsilon_cutoff),
                                          FIELD(eta_cutoff),
                                          FIELD(renormalize_logits),
                                          FIELD(repetition_penalty),
                                          FIELD(encoder_repetition_penalty),
                                          FIELD(presence_penalty),
                                          FIELD(frequency_penalty),
                                          FIELD(no_repeat_ngram_size),
                                          FIELD(encoder_no_repeat_ngram_size),
                                          FIELD(bad_words_ids),
                                          FIELD(sequence_bias),
                                          FIELD(suppress_tokens),
                                          FIELD(begin_suppress_tokens),
                                          FIELD(forced_bos_token_id),
                                          FIELD(forced_eos_token_id),
                                          FIELD(exponential_decay_length_penalty),
                                          FIELD(remove_invalid_values),
                                          FIELD(pad_token_id),
                                          FIELD(bos_token_id),
                                          FIELD(eos_token_id)};
#undef FIELD
  return list;
}

const Field* find_field(std::string_view name) {
  for (const Field& field : fields()) {
    if (field.name == name) return &field;
  }
  return nullptr;
}

// Options of transformers that change the output and that this engine does not have.
void refuse_unsupported(const Json& extra) {
  const auto set = [&extra](std::string_view key, const Json& neutral) {
    const Json* value = find_member(extra, key);
    return value != nullptr && *value != neutral;
  };
  for (std::string_view key : {"watermarking_config", "dola_layers", "constraints", "force_words_ids"}) {
    check(!set(key, Json()), ErrorCode::unsupported, "generation option {} is not supported", key);
  }
  check(!set("guidance_scale", 1) && !set("guidance_scale", 1.0), ErrorCode::unsupported,
        "generation option guidance_scale (classifier-free guidance) is not supported");
  check(!set("token_healing", false), ErrorCode::unsupported, "generation option token_healing is not supported");
}

void check_range(bool good, std::string_view key, double value, std::string_view expected) {
  check(good, ErrorCode::invalid_argument, "{} must be {}, got {}", key, expected, value);
}

// Factors beyond these make scores infinite in fp32, and infinite minus infinite is no number.
constexpr double kSmallest = 1e-30, kLargest = 1e30;
bool is_factor(double x) { return x >= kSmallest && x <= kLargest; }
bool is_bounded(double x) { return std::abs(x) <= kLargest; }  // false for NaN

// Lengths are added to prompt lengths.
bool is_length(int64_t x) { return x >= 0 && x <= int64_t{1} << 40; }

// As in transformers, what only sampling reads matters only there: published configs hold temperature 0 for greedy.
void check_sampling(const GenerationConfig& c) {
  if (!c.do_sample) return;
  check_range(is_factor(c.temperature), "temperature", c.temperature,
              "in [1e-30, 1e30] (for greedy decoding set do_sample to false)");
  check_range(c.top_k >= 0, "top_k", static_cast<double>(c.top_k), "0 (off) or more");
  check_range(c.top_p >= 0 && c.top_p <= 1, "top_p", c.top_p, "in [0, 1]");
  check_range(!c.min_p || (*c.min_p >= 0 && *c.min_p <= 1), "min_p", c.min_p.value_or(0), "in [0, 1]");
  check_range(!c.top_h || (*c.top_h > 0 && *c.top_h <= 1), "top_h", c.top_h.value_or(0), "in (0, 1]");
  check_range(c.typical_p > 0 && c.typical_p <= 1, "typical_p", c.typical_p, "in (0, 1]");
  check_range(c.epsilon_cutoff >= 0 && c.epsilon_cutoff < 1, "epsilon_cutoff", c.epsilon_cutoff, "in [0, 1)");
  check_range(c.eta_cutoff >= 0 && c.eta_cutoff < 1, "eta_cutoff", c.eta_cutoff, "in [0, 1)");
}

void check_penalties(const GenerationConfig& c) {
  constexpr std::string_view kFactor = "positive, in [1e-30, 1e30]", kBounded = "in [-1e30, 1e30]";
  check_range(is_factor(c.repetition_penalty), "repetition_penalty", c.repetition_penalty, kFactor);
  check_range(is_factor(c.encoder_repetition_penalty), "encoder_repetition_penalty", c.encoder_repetition_penalty,
              kFactor);
  check_range(is_bounded(c.presence_penalty), "presence_penalty", c.presence_penalty, kBounded);
  check_range(is_bounded(c.frequency_penalty), "frequency_penalty", c.frequency_penalty, kBounded);
  check_range(is_bounded(c.diversity_penalty), "diversity_penalty", c.diversity_penalty, kBounded);
  constexpr std::string_view kSize = "0 (off) or more";
  check_range(c.no_repeat_ngram_size >= 0, "no_repeat_ngram_size", static_cast<double>(c.no_repeat_ngram_size), kSize);
  check_range(c.encoder_no_repeat_ngram_size >= 0, "encoder_no_repeat_ngram_size",
              static_cast<double>(c.encoder_no_repeat_ngram_size), kSize);
  if (c.exponential_decay_length_penalty) {
    const auto [start, factor] = *c.exponential_decay_length_penalty;
    check(is_length(std::abs(std::max(start, -INT64_MAX))) && factor > 0 && is_bounded(factor),
          ErrorCode::invalid_argument,
          "exponential_decay_length_penalty must be a start length and a positive factor, got [{}, {}]", start, factor);
  }
  for (const auto& word : c.bad_words_ids) {
    for (int32_t id : word) check_range(id >= 0, "bad_words_ids", id, "token ids from 0 on");
  }
  for (const auto& [ids, bias] : c.sequence_bias) {
    check(!ids.empty() && (is_bounded(bias) || bias == -INFINITY), ErrorCode::invalid_argument,
          "sequence_bias must hold pairs of a non-empty list of token ids and a number in [-1e30, 1e30]");
    for (int32_t id : ids) check_range(id >= 0, "sequence_bias", id, "token ids from 0 on");
  }
}

void check_strategy(const GenerationConfig& c) {
  check_range(c.num_beams >= 1 && c.num_beams <= 4096, "num_beams", static_cast<double>(c.num_beams), "in 1 .. 4096");
  check_range(c.num_return_sequences >= 1 && c.num_return_sequences <= 4096, "num_return_sequences",
              static_cast<double>(c.num_return_sequences), "in 1 .. 4096");
  check_range(std::isfinite(c.length_penalty), "length_penalty", c.length_penalty, "finite");
  check(c.num_beams == 1 || c.num_return_sequences <= c.num_beams, ErrorCode::invalid_argument,
        "num_return_sequences ({}) must not exceed num_beams ({})", c.num_return_sequences, c.num_beams);
  check(c.num_beams > 1 || c.do_sample || c.num_return_sequences == 1, ErrorCode::invalid_argument,
        "num_return_sequences is {}, but greedy decoding has only one answer: set do_sample or num_beams",
        c.num_return_sequences);
  check(c.num_beam_groups >= 1 && c.num_beams % c.num_beam_groups == 0, ErrorCode::invalid_argument,
        "num_beams ({}) must be a multiple of num_beam_groups ({})", c.num_beams, c.num_beam_groups);
  check(c.num_beam_groups == 1 || !c.do_sample, ErrorCode::invalid_argument,
        "diverse beam search (num_beam_groups {}) does not sample: set do_sample to false", c.num_beam_groups);
  check_range(!c.penalty_alpha || (*c.penalty_alpha >= 0 && *c.penalty_alpha <= 1), "penalty_alpha",
              c.penalty_alpha.value_or(0), "in [0, 1]");
}

void check_speculation(const GenerationConfig& c) {
  const int64_t looked_up = c.prompt_lookup_num_tokens.value_or(0), longest = c.max_matching_ngram_size.value_or(1);
  check(looked_up >= 0 && looked_up <= 4096, ErrorCode::invalid_argument,
        "prompt_lookup_num_tokens must be in 0 (off) .. 4096, got {}", looked_up);
  check(longest >= 1 && longest <= 4096, ErrorCode::invalid_argument,
        "max_matching_ngram_size must be in 1 .. 4096, got {}", longest);
  check_range(c.assistant_confidence_threshold >= 0 && c.assistant_confidence_threshold <= 1,
              "assistant_confidence_threshold", c.assistant_confidence_threshold, "in [0, 1]");
  check(c.num_assistant_tokens >= 1 && c.num_assistant_tokens <= 4096, ErrorCode::invalid_argument,
        "num_assistant_tokens must be in 1 .. 4096, got {}", c.num_assistant_tokens);
  const std::string& schedule = c.num_assistant_tokens_schedule;
  check(schedule == "constant" || schedule == "heuristic" || schedule == "heuristic_transient",
        ErrorCode::invalid_argument,
        "num_assistant_tokens_schedule must be constant, heuristic or heuristic_transient, got '{}'", schedule);
}

}  // namespace

void GenerationConfig::update(const Json& options, std::string_view where) {
  check(options.is_object(), ErrorCode::invalid_argument, "{}: generation options must be a JSON object", where);
  for (const auto& [key, value] : options.items()) {
    if (const Field* field = find_field(key)) {
      field->set(*this, value, Place{where, key});
    } else {
      extra[key] = value;
    }
  }
}

GenerationConfig GenerationConfig::from_json(const Json& json, std::string_view where) {
  check_file(json.is_object(), FileFault::type, where, "expected an object with generation options");
  GenerationConfig config;
  try {
    config.update(json, "generation options");
  } catch (const Error& error) {
    fail_file(FileFault::type, where, "{}", error.what());
  }
  return config;
}

Json GenerationConfig::to_json() const {
  static const GenerationConfig defaults;
  Json json = Json::object();
  for (const Field& field : fields()) {
    Json value = field.get(*this);
    if (value == field.get(defaults)) continue;
    // One id is written as transformers writes it.
    if (field.name.ends_with("eos_token_id") && value.size() == 1) value = Json(value[0]);
    json[std::string(field.name)] = std::move(value);
  }
  for (const auto& [key, value] : extra.items()) json[key] = value;
  return json;
}

void GenerationConfig::validate() const {
  check_strategy(*this);
  check_speculation(*this);
  check_sampling(*this);
  check_penalties(*this);
  check(!max_new_tokens || (*max_new_tokens >= 1 && is_length(*max_new_tokens)), ErrorCode::invalid_argument,
        "max_new_tokens must be at least 1 and at most 2^40, got {}", max_new_tokens.value_or(0));
  check(is_length(min_length) && is_length(min_new_tokens.value_or(0)), ErrorCode::invalid_argument,
        "min_length and min_new_tokens must lie in 0 .. 2^40, got {} and {}", min_length, min_new_tokens.value_or(0));
  check_range(!max_time || (std::isfinite(*max_time) && *max_time >= 0), "max_time", max_time.value_or(0),
              "a number of seconds, 0 or more");
  for (const std::string& text : stop_strings) {
    check(!text.empty(), ErrorCode::invalid_argument, "stop_strings: a stop string must not be empty");
  }
  refuse_unsupported(extra);
}

StrategyKind GenerationConfig::strategy(bool draft) const {
  if (num_beam_groups > 1) return StrategyKind::beam_groups;
  if (num_beams > 1) return StrategyKind::beams;
  if (penalty_alpha.value_or(0) > 0 && top_k > 1 && !do_sample) return StrategyKind::contrastive;
  const bool speculates = draft || prompt_lookup_num_tokens.value_or(0) > 0;
  if (speculates && num_return_sequences == 1) return StrategyKind::speculative;
  return do_sample ? StrategyKind::sampling : StrategyKind::greedy;
}

}  // namespace caravan::generate
