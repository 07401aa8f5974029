#include "caravan/cli/decoding_options.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "caravan/base/error.h"
#include "caravan/cli/id_list.h"
#include "caravan/generate/tokenizer_loading.h"

namespace caravan::cli {
namespace {

enum class Kind { integer, number, flag, word, ids, lists, text, json };

struct Entry {
  const char* name;
  Kind kind;
  const char* group;
  const char* help;
};

constexpr Entry kEntries[] = {
    {"max-new-tokens", Kind::integer, "Length", "at most this many new tokens"},
    {"min-new-tokens", Kind::integer, "Length", "at least this many new tokens"},
    {"max-length", Kind::integer, "Length", "at most this many tokens with the prompt"},
    {"min-length", Kind::integer, "Length", "at least this many tokens with the prompt"},
    {"max-time", Kind::number, "Length", "stop after this many seconds"},
    {"stop-strings", Kind::text, "Length", "stop at this text (repeat for more)"},
    {"eos-token-id", Kind::ids, "Length", "ids that end a sequence, as 1,2"},
    {"do-sample", Kind::flag, "Strategy", "draw tokens instead of taking the best"},
    {"num-beams", Kind::integer, "Strategy", "beam search with this many beams"},
    {"num-return-sequences", Kind::integer, "Strategy", "sequences per prompt"},
    {"length-penalty", Kind::number, "Strategy", "beams: score = sum of logprobs / length^penalty"},
    {"early-stopping", Kind::word, "Strategy", "beams: true, false or never"},
    {"num-beam-groups", Kind::integer, "Strategy", "diverse beam search: groups"},
    {"diversity-penalty", Kind::number, "Strategy", "diverse beam search: penalty between groups"},
    {"penalty-alpha", Kind::number, "Strategy", "contrastive search (with --top-k)"},
    {"prompt-lookup-num-tokens", Kind::integer, "Strategy", "speculate with tokens copied from the prompt"},
    {"max-matching-ngram-size", Kind::integer, "Strategy", "longest n-gram matched by prompt lookup"},
    {"num-assistant-tokens", Kind::integer, "Strategy", "tokens a draft model proposes at a time"},
    {"assistant-confidence-threshold", Kind::number, "Strategy", "the draft stops below this probability"},
    {"seed", Kind::integer, "Sampling", "random seed; equal seeds give equal text"},
    {"temperature", Kind::number, "Sampling", "below 1 sharper, above 1 flatter; 0: greedy"},
    {"top-k", Kind::integer, "Sampling", "only the k best tokens (0: all)"},
    {"top-p", Kind::number, "Sampling", "only the best tokens with this much probability together"},
    {"min-p", Kind::number, "Sampling", "only tokens with this part of the best one's probability"},
    {"typical-p", Kind::number, "Sampling", "only tokens of typical surprise, this much probability together"},
    {"top-h", Kind::number, "Sampling", "only the best tokens within this part of the entropy"},
    {"epsilon-cutoff", Kind::number, "Sampling", "only tokens above this probability"},
    {"eta-cutoff", Kind::number, "Sampling", "the same with a limit that follows the entropy"},
    {"renormalize-logits", Kind::flag, "Sampling", "log-softmax after all processors"},
    {"repetition-penalty", Kind::number, "Penalties", "above 1: against tokens seen before"},
    {"encoder-repetition-penalty", Kind::number, "Penalties", "above 1: for tokens of the prompt"},
    {"presence-penalty", Kind::number, "Penalties", "subtracted once from tokens generated before"},
    {"frequency-penalty", Kind::number, "Penalties", "subtracted as often as a token was generated"},
    {"no-repeat-ngram-size", Kind::integer, "Penalties", "no n-gram twice"},
    {"encoder-no-repeat-ngram-size", Kind::integer, "Penalties", "no n-gram of the prompt"},
    {"bad-words-ids", Kind::lists, "Penalties", "id sequences that must not appear, as 1,2;3"},
    {"suppress-tokens", Kind::ids, "Penalties", "ids that must not appear"},
    {"begin-suppress-tokens", Kind::ids, "Penalties", "ids that must not come first"},
    {"forced-bos-token-id", Kind::integer, "Penalties", "id of the first new token"},
    {"forced-eos-token-id", Kind::ids, "Penalties", "ids of the last token where the length ends it"},
    {"sequence-bias", Kind::json, "Penalties", "JSON [[[ids], bias], ...]"},
    {"exponential-decay-length-penalty", Kind::json, "Penalties", "JSON [start, factor]"},
    {"remove-invalid-values", Kind::flag, "Penalties", "NaN and infinite logits become finite"},
};

std::string key_of(std::string name) {
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

template <class T>
Json parse_number(const std::string& option, const std::string& text, const char* wanted) {
  T value{};
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  check(error == std::errc() && stop == text.data() + text.size(), ErrorCode::invalid_argument,
        "{}: expected {}, got '{}'", option, wanted, text);
  return value;
}

Json parse_flag(const std::string& option, const std::string& text) {
  check(text == "true" || text == "false" || text == "1" || text == "0", ErrorCode::invalid_argument,
        "{}: expected true or false, got '{}'", option, text);
  return text == "true" || text == "1";
}

// JSON given on the command line: what is wrong with it is wrong with the argument, not with a file.
Json parse_json_argument(const std::string& option, const std::string& text) {
  try {
    return parse_json(text, option);
  } catch (const Error& error) {
    fail(ErrorCode::invalid_argument, "{}", error.what());
  }
}

Json parse_lists(const std::string& option, const std::string& text) {
  if (text.starts_with("[[")) return parse_json_argument(option, text);
  Json lists = Json::array();
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(';', begin), text.size());
    lists.push_back(parse_ids(text.substr(begin, end - begin), option));
    begin = end + 1;
  }
  return lists;
}

Json parse_value(const Entry& entry, const std::string& text) {
  const std::string option = std::string("--") + entry.name;
  switch (entry.kind) {
    case Kind::integer:
      return parse_number<int64_t>(option, text, "an integer");
    case Kind::number:
      return parse_number<double>(option, text, "a number");
    case Kind::flag:
      return parse_flag(option, text);
    case Kind::word:
      return text == "true" || text == "false" ? Json(text == "true") : Json(text);
    case Kind::ids:
      return parse_ids(text, option);
    case Kind::lists:
      return parse_lists(option, text);
    case Kind::text: {
      Json texts = Json::array();
      for (size_t begin = 0; begin < text.size();) {  // repeated options are joined by NUL
        const size_t end = std::min(text.find('\0', begin), text.size());
        texts.push_back(text.substr(begin, end - begin));
        begin = end + 1;
      }
      return texts;
    }
    case Kind::json:
      return parse_json_argument(option, text);
  }
  return nullptr;
}

// Options that only make sense when tokens are drawn.
bool asks_for_sampling(const Json& given) {
  if (given.contains("penalty_alpha")) return false;  // contrastive search has its own top_k
  for (const char* key : {"top_p", "top_k", "min_p", "typical_p", "top_h", "epsilon_cutoff", "eta_cutoff"}) {
    if (given.contains(key)) return true;
  }
  const auto temperature = given.find("temperature");
  return temperature != given.end() && *temperature != 0;
}

}  // namespace

void DecodingOptions::add_to(CLI::App& app) {
  for (const Entry& entry : kEntries) {
    std::string name = std::string("--") + entry.name;
    if (entry.kind == Kind::text) name += ",--stop";
    const std::string key = entry.name;
    CLI::Option* option = nullptr;
    if (entry.kind == Kind::flag) {
      option = app.add_flag_function(
          name, [this, key](std::int64_t count) { values_[key] = count > 0 ? "true" : "false"; }, entry.help);
    } else if (entry.kind == Kind::text) {
      option = app.add_option_function<std::vector<std::string>>(
          name,
          [this, key](const std::vector<std::string>& texts) {
            std::string& joined = values_[key];
            for (const std::string& text : texts) joined += text + '\0';
          },
          entry.help);
      option->allow_extra_args(false)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    } else {
      option = app.add_option_function<std::string>(
          name, [this, key](const std::string& text) { values_[key] = text; }, entry.help);
    }
    option->group(entry.group);
  }
  app.add_flag_callback(
         "--greedy", [this] { values_["do-sample"] = "false"; }, "the best token each time")
      ->group("Strategy");
}

Json DecodingOptions::given() const {
  Json json = Json::object();
  for (const Entry& entry : kEntries) {
    const auto it = values_.find(entry.name);
    if (it != values_.end()) json[key_of(entry.name)] = parse_value(entry, it->second);
  }
  if (!json.contains("do_sample") && asks_for_sampling(json)) json["do_sample"] = true;
  if (const auto it = json.find("temperature"); it != json.end() && *it == 0) {
    json["do_sample"] = false;
    json.erase("temperature");
  }
  return json;
}

generate::GenerationConfig DecodingOptions::config(const formats::Checkpoint& checkpoint) const {
  generate::GenerationConfig config = generate::load_generation_config(checkpoint);
  config.update(given(), "command line");
  return config;
}

}  // namespace caravan::cli
