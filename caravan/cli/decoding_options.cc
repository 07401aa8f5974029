#include "caravan/cli/decoding_options.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <random>

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
  const char* shown = "";  // the default, in the help
};

// What stands for the value in the help.
constexpr const char* placeholder(Kind kind) {
  switch (kind) {
    case Kind::integer:
      return "N";
    case Kind::number:
      return "X";
    case Kind::word:
      return "WORD";
    case Kind::ids:
      return "IDS";
    case Kind::lists:
      return "IDS;IDS";
    case Kind::json:
      return "JSON";
    default:
      return "TEXT";
  }
}

constexpr Entry kEntries[] = {
    {"max-new-tokens", Kind::integer, "Length", "at most this many new tokens", "20"},
    {"min-new-tokens", Kind::integer, "Length", "at least this many new tokens"},
    {"max-length", Kind::integer, "Length", "at most this many tokens with the prompt"},
    {"min-length", Kind::integer, "Length", "at least this many tokens with the prompt", "0"},
    {"max-time", Kind::number, "Length", "stop after this many seconds"},
    {"stop-strings", Kind::text, "Length", "stop at this text (repeat for more)"},
    {"eos-token-id", Kind::ids, "Length", "ids that end a sequence, as 1,2"},
    {"do-sample", Kind::flag, "Strategy", "draw tokens instead of taking the best", "false"},
    {"num-beams", Kind::integer, "Strategy", "beam search with this many beams", "1"},
    {"num-return-sequences", Kind::integer, "Strategy", "sequences per prompt", "1"},
    {"length-penalty", Kind::number, "Strategy", "beams: score = sum of logprobs / length^penalty", "1"},
    {"early-stopping", Kind::word, "Strategy", "beams: true, false or never", "false"},
    {"num-beam-groups", Kind::integer, "Strategy", "diverse beam search: groups", "1"},
    {"diversity-penalty", Kind::number, "Strategy", "diverse beam search: penalty between groups", "0"},
    {"penalty-alpha", Kind::number, "Strategy", "contrastive search (with --top-k)"},
    {"prompt-lookup-num-tokens", Kind::integer, "Strategy", "speculate with tokens copied from the prompt"},
    {"max-matching-ngram-size", Kind::integer, "Strategy", "longest n-gram matched by prompt lookup"},
    {"num-assistant-tokens", Kind::integer, "Strategy", "tokens a draft model proposes at a time", "20"},
    {"num-assistant-tokens-schedule", Kind::word, "Strategy",
     "guesses at a time, looked up or a draft's: heuristic (as many as pay, none where none do) or constant",
     "heuristic"},
    {"assistant-confidence-threshold", Kind::number, "Strategy", "the draft stops below this probability", "0.4"},
    {"seed", Kind::integer, "Sampling", "equal seeds give equal text", "random"},
    {"temperature", Kind::number, "Sampling", "below 1 sharper, above 1 flatter; 0: greedy", "1"},
    {"top-k", Kind::integer, "Sampling", "only the k best tokens (0: all)", "50"},
    {"top-p", Kind::number, "Sampling", "only the best tokens with this much probability together", "1"},
    {"min-p", Kind::number, "Sampling", "only tokens with this part of the best one's probability"},
    {"typical-p", Kind::number, "Sampling", "only tokens of typical surprise, this much probability together", "1"},
    {"top-h", Kind::number, "Sampling", "only the best tokens within this part of the entropy"},
    {"epsilon-cutoff", Kind::number, "Sampling", "only tokens above this probability", "0"},
    {"eta-cutoff", Kind::number, "Sampling", "the same with a limit that follows the entropy", "0"},
    {"renormalize-logits", Kind::flag, "Sampling", "log-softmax after all processors"},
    {"repetition-penalty", Kind::number, "Penalties", "above 1: against tokens seen before", "1"},
    {"encoder-repetition-penalty", Kind::number, "Penalties", "above 1: for tokens of the prompt", "1"},
    {"presence-penalty", Kind::number, "Penalties", "subtracted once from tokens generated before", "0"},
    {"frequency-penalty", Kind::number, "Penalties", "subtracted as often as a token was generated", "0"},
    {"no-repeat-ngram-size", Kind::integer, "Penalties", "no n-gram twice", "0"},
    {"encoder-no-repeat-ngram-size", Kind::integer, "Penalties", "no n-gram of the prompt", "0"},
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

void DecodingOptions::add_to(CLI::App& app, const std::map<std::string, std::string>& shown) {
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
    const auto other = shown.find(entry.name);
    const std::string default_text = other == shown.end() ? entry.shown : other->second;
    option->group(entry.group);
    if (entry.kind == Kind::flag) continue;
    option->type_name(placeholder(entry.kind));
    if (!default_text.empty()) option->default_str(default_text);
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

std::vector<std::pair<std::string, std::string>> DecodingOptions::defaults() {
  std::vector<std::pair<std::string, std::string>> list;
  for (const Entry& entry : kEntries) {
    if (*entry.shown != '\0') list.emplace_back(entry.name, entry.shown);
  }
  return list;
}

void choose_seed(generate::GenerationConfig& config) { config.seed = std::random_device()(); }

generate::GenerationConfig DecodingOptions::config(const formats::Checkpoint& checkpoint) const {
  generate::GenerationConfig config = generate::load_generation_config(checkpoint);
  config.update(given(), "command line");
  return config;
}

}  // namespace caravan::cli
