#include "caravan/cli/decoding_options.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <random>
#include <string_view>

#include "caravan/base/error.h"
#include "caravan/cli/id_list.h"
#include "caravan/generate/tokenizer_loading.h"

namespace caravan::cli {
namespace {

using generate::StrategyKind;

enum class Kind { integer, number, flag, word, id, ids, lists, text, json };

// Who reads an option: without it the option would change nothing.
enum class Reader {
  anyone,
  sampling,
  sampling_or_contrastive,
  beams,
  beam_groups,
  contrastive,
  speculation,
  lookup,
  draft
};

struct Entry {
  const char* name;
  Kind kind;
  const char* group;
  const char* help;
  const char* shown = "";  // the default, in the help
  Reader reader = Reader::anyone;
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
    case Kind::id:
      return "ID";
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
    {"length-penalty", Kind::number, "Strategy", "beams: score = sum of logprobs / length^penalty", "1", Reader::beams},
    {"early-stopping", Kind::word, "Strategy", "beams: true, false or never", "false", Reader::beams},
    {"num-beam-groups", Kind::integer, "Strategy", "diverse beam search: groups", "1"},
    {"diversity-penalty", Kind::number, "Strategy", "diverse beam search: penalty between groups", "0",
     Reader::beam_groups},
    {"penalty-alpha", Kind::number, "Strategy", "contrastive search (with --top-k)", "", Reader::contrastive},
    {"prompt-lookup-num-tokens", Kind::integer, "Strategy", "speculate with tokens copied from the prompt", "",
     Reader::lookup},
    {"max-matching-ngram-size", Kind::integer, "Strategy", "longest n-gram matched by prompt lookup", "",
     Reader::lookup},
    {"num-assistant-tokens", Kind::integer, "Strategy", "tokens a draft model proposes at a time", "20", Reader::draft},
    {"num-assistant-tokens-schedule", Kind::word, "Strategy",
     "guesses at a time, looked up or a draft's: heuristic (as many as pay, none where none do) or constant",
     "heuristic", Reader::speculation},
    {"assistant-confidence-threshold", Kind::number, "Strategy", "the draft stops below this probability", "0.4",
     Reader::draft},
    {"seed", Kind::integer, "Sampling", "equal seeds give equal text", "random"},
    {"temperature", Kind::number, "Sampling", "below 1 sharper, above 1 flatter; 0: greedy", "1", Reader::sampling},
    {"top-k", Kind::integer, "Sampling", "only the k best tokens (0: all)", "50", Reader::sampling_or_contrastive},
    {"top-p", Kind::number, "Sampling", "only the best tokens with this much probability together", "1",
     Reader::sampling},
    {"min-p", Kind::number, "Sampling", "only tokens with this part of the best one's probability", "",
     Reader::sampling},
    {"typical-p", Kind::number, "Sampling", "only tokens of typical surprise, this much probability together", "1",
     Reader::sampling},
    {"top-h", Kind::number, "Sampling", "only the best tokens within this part of the entropy", "", Reader::sampling},
    {"epsilon-cutoff", Kind::number, "Sampling", "only tokens above this probability", "0", Reader::sampling},
    {"eta-cutoff", Kind::number, "Sampling", "the same with a limit that follows the entropy", "0", Reader::sampling},
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
    {"forced-bos-token-id", Kind::id, "Penalties", "id of the first new token"},
    {"forced-eos-token-id", Kind::ids, "Penalties", "ids of the last token where the length ends it"},
    {"sequence-bias", Kind::json, "Penalties", "JSON [[[ids], bias], ...]"},
    {"exponential-decay-length-penalty", Kind::json, "Penalties", "JSON [start, factor]"},
    {"remove-invalid-values", Kind::flag, "Penalties", "NaN and infinite logits become finite"},
};

constexpr Entry kDraft = {"draft", Kind::text, "Strategy", "", "", Reader::draft};

std::string key_of(std::string name) {
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

constexpr std::string_view kCommandLine = "command line";

// GenerationConfig's words in those of the command line: "num_beams must be ..." -> "--num-beams must be ...". Keys of
// one word ("seed") are known by their place. What was given stands behind "got" and stays.
std::string in_option_words(std::string_view message) {
  const std::string where = fmt::format("{}: ", kCommandLine);
  if (message.starts_with(where)) message.remove_prefix(where.size());
  const size_t end = std::min(message.find(", got "), message.size());
  std::string text;
  for (size_t at = 0; at < end;) {
    const size_t size = std::min(message.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_", at), end) - at;
    const std::string_view word = message.substr(at, size);
    const auto entry = std::ranges::find(kEntries, word, [](const Entry& e) { return key_of(e.name); });
    const bool is_key = entry != std::end(kEntries) && (at == 0 || word.find('_') != std::string_view::npos);
    text += is_key ? fmt::format("--{}", entry->name) : std::string(word);
    at += size;
    if (at < end) text += message[at++];
  }
  return text.append(message.substr(end));
}

[[noreturn]] void fail_in_option_words(const Error& error) {
  throw Error(error.code(), in_option_words(error.what()), error.fault());
}

template <class T>
Json parse_number(const std::string& option, const std::string& text, const char* wanted) {
  T value{};
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  check(error != std::errc::result_out_of_range, ErrorCode::invalid_argument, "{}: '{}' is too large or too small",
        option, text);
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
    check(!lists.back().empty(), ErrorCode::invalid_argument,
          "{}: a list in '{}' is empty; expected ids such as 1,2;3, with ';' between lists", option, text);
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
    case Kind::id: {
      const std::vector<int32_t> ids = parse_ids(text, option);
      check(ids.size() == 1, ErrorCode::invalid_argument, "{}: expected one token id, got '{}'", option, text);
      return ids.front();
    }
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

// An option at its default, or switched off, is ignored by nobody.
bool is_neutral(const Entry& entry, const Json& value) {
  const bool zero_is_off = *entry.shown == '\0' || entry.reader == Reader::sampling_or_contrastive;
  if (zero_is_off && value.is_number() && value == 0) return true;
  generate::GenerationConfig config;
  config.update({{key_of(entry.name), value}}, kCommandLine);
  return !config.to_json().contains(key_of(entry.name));
}

bool is_read(Reader reader, const generate::GenerationConfig& config, bool draft) {
  const StrategyKind kind = config.strategy(draft);
  switch (reader) {
    case Reader::anyone:
      return true;
    case Reader::sampling:
      return config.do_sample;
    case Reader::sampling_or_contrastive:
      return config.do_sample || kind == StrategyKind::contrastive;
    case Reader::beams:
      return kind == StrategyKind::beams || kind == StrategyKind::beam_groups;
    case Reader::beam_groups:
      return kind == StrategyKind::beam_groups;
    case Reader::contrastive:
      return kind == StrategyKind::contrastive;
    case Reader::speculation:
      return kind == StrategyKind::speculative;
    case Reader::lookup:
      return kind == StrategyKind::speculative && !draft;
    case Reader::draft:
      return kind == StrategyKind::speculative && draft;
  }
  return true;
}

// The option that chose another strategy than speculation, and how to undo it; "" where none did.
std::string without_rival(const Json& given, const generate::GenerationConfig& config, bool draft) {
  const auto undone = [&](std::string_view key, std::string_view option, std::string_view neutral) {
    return given.contains(key) ? fmt::format("leave {} out", option) : fmt::format("give {} {}", option, neutral);
  };
  switch (config.strategy(draft)) {
    case StrategyKind::beams:
      return undone("num_beams", "--num-beams", "1");
    case StrategyKind::beam_groups:
      return undone("num_beam_groups", "--num-beam-groups", "1");
    case StrategyKind::contrastive:
      return undone("penalty_alpha", "--penalty-alpha", "0");
    default:
      return config.num_return_sequences > 1 ? undone("num_return_sequences", "--num-return-sequences", "1") : "";
  }
}

// Who would read it, and how to get there.
std::pair<const char*, const char*> wanted(Reader reader) {
  switch (reader) {
    case Reader::beams:
      return {"beam search", "give --num-beams 2 or more"};
    case Reader::beam_groups:
      return {"diverse beam search", "give --num-beam-groups 2 or more"};
    case Reader::contrastive:
      return {"contrastive search", "give --num-beams 1, --top-k 2 or more and no sampling"};
    case Reader::speculation:
      return {"speculation", "give --prompt-lookup-num-tokens or --draft, without beams or several sequences"};
    case Reader::lookup:
      return {"prompt lookup",
              "give --prompt-lookup-num-tokens, without --draft, --penalty-alpha, beams or several sequences"};
    case Reader::draft:
      return {"speculation with a draft model", "give --draft, without --penalty-alpha, beams or several sequences"};
    default:
      return {"sampling", "let tokens be drawn (--do-sample, not --greedy)"};
  }
}

std::string described(const generate::GenerationConfig& config, bool draft) {
  switch (config.strategy(draft)) {
    case StrategyKind::greedy:
      return "greedy search";
    case StrategyKind::sampling:
      return "sampling";
    case StrategyKind::beams:
      return fmt::format("beam search (num_beams is {})", config.num_beams);
    case StrategyKind::beam_groups:
      return fmt::format("diverse beam search (num_beam_groups is {})", config.num_beam_groups);
    case StrategyKind::contrastive:
      return fmt::format("contrastive search (penalty_alpha is {})", config.penalty_alpha.value_or(0));
    case StrategyKind::speculative:
      return draft ? "speculation with a draft model" : "prompt lookup";
  }
  return "";
}

void check_read(const Entry& entry, const Json& given, const generate::GenerationConfig& config, bool draft) {
  const Reader reader = entry.reader;
  if (is_read(reader, config, draft)) return;
  const std::string option = fmt::format("--{}", entry.name);
  const bool is_looked_up = config.prompt_lookup_num_tokens.value_or(0) > 0;
  const bool is_asked_for = (reader == Reader::draft && draft) ||
                            (reader == Reader::lookup && is_looked_up && !draft) ||
                            (reader == Reader::speculation && (draft || is_looked_up));
  const auto [who, usual] = wanted(reader);
  const std::string rival = is_asked_for ? without_rival(given, config, draft) : "";
  const std::string advice = rival.empty() ? usual : rival;
  fail(ErrorCode::invalid_argument, "{}: only {} reads it, and this is {}: {}, or leave {} out", option, who,
       described(config, draft), advice, option);
}

// Minima that were given and that the maxima leave no room for. `prompt`: tokens, where they are known.
void check_lengths(const Json& given, const generate::GenerationConfig& c, std::optional<int64_t> prompt) {
  const bool by_length = !c.max_new_tokens && c.max_length;
  const int64_t added = c.max_new_tokens.value_or(generate::kDefaultNewTokens);
  if (given.contains("min_new_tokens")) {
    const int64_t most = by_length ? std::max<int64_t>(*c.max_length, 1) - prompt.value_or(1) : added;
    check(c.min_new_tokens <= most, ErrorCode::invalid_argument,
          "--min-new-tokens {}: there are {} new tokens at most: raise --max-new-tokens, or lower it",
          c.min_new_tokens.value_or(0), most);
  }
  if (!given.contains("min_length") || c.min_new_tokens || !(by_length || prompt)) return;
  const int64_t most = by_length ? *c.max_length : prompt.value_or(0) + added;
  check(c.min_length <= most, ErrorCode::invalid_argument,
        "--min-length {}: prompt and new tokens are {} at most: raise {}, or lower it", c.min_length, most,
        by_length ? "--max-length" : "--max-new-tokens");
}

void check_known(const std::string& option, const Json& ids, int64_t vocabulary) {
  if (ids.is_array()) {
    for (const Json& id : ids) check_known(option, id, vocabulary);
  } else {
    check_in_vocabulary(ids.get<int64_t>(), vocabulary, option);
  }
}

// The ids in a value. generation_config.json may hold such that the vocabulary lacks, as for transformers.
void check_ids(const Entry& entry, const Json& value, int64_t vocabulary) {
  const std::string option = std::string("--") + entry.name;
  if (entry.kind == Kind::id || entry.kind == Kind::ids || entry.kind == Kind::lists) {
    check_known(option, value, vocabulary);
  } else if (std::string_view(entry.name) == "sequence-bias") {
    for (const Json& pair : value) check_known(option, pair[0], vocabulary);
  }
}

}  // namespace

void DecodingOptions::add_to(CLI::App& app, const std::map<std::string, std::string>& shown) {
  for (const Entry& entry : kEntries) {
    if (entry.reader != Reader::draft) add(app, entry.name, shown);
  }
  app.add_flag("--greedy", greedy_, "no sampling: the best token each time")->group("Strategy");
}

void DecodingOptions::add_draft_to(CLI::App& app) {
  app.add_option("--draft", draft_, "a small model of the same vocabulary that proposes tokens (speculative decoding)")
      ->type_name("MODEL")
      ->group("Strategy");
  for (const Entry& entry : kEntries) {
    if (entry.reader == Reader::draft) add(app, entry.name, {});
  }
}

void DecodingOptions::add(CLI::App& app, const std::string& key, const std::map<std::string, std::string>& shown) {
  const Entry& entry = *std::ranges::find(kEntries, key, &Entry::name);
  std::string name = "--" + key;
  if (entry.kind == Kind::text) name += ",--stop";
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
  if (entry.kind == Kind::flag) return;
  const auto other = shown.find(key);
  const std::string default_text = other == shown.end() ? entry.shown : other->second;
  option->type_name(placeholder(entry.kind));
  if (!default_text.empty()) option->default_str(default_text);
}

Json DecodingOptions::given() const {
  Json json = Json::object();
  for (const Entry& entry : kEntries) {
    const auto it = values_.find(entry.name);
    if (it != values_.end()) json[key_of(entry.name)] = parse_value(entry, it->second);
  }
  const auto drawn = json.find("do_sample");
  check(!greedy_ || drawn == json.end() || *drawn == false, ErrorCode::invalid_argument,
        "--greedy and --do-sample contradict each other: give one of them");
  if (greedy_) json["do_sample"] = false;
  if (!json.contains("do_sample") && asks_for_sampling(json)) json["do_sample"] = true;
  if (!json.contains("do_sample") && json.contains("penalty_alpha")) json["do_sample"] = false;
  if (is_at_limit()) {
    json["do_sample"] = false;
    json.erase("temperature");
  }
  return json;
}

bool DecodingOptions::is_at_limit() const {
  const auto it = values_.find("temperature");
  return it != values_.end() && parse_number<double>("--temperature", it->second, "a number") == 0;
}

void DecodingOptions::check_use(const generate::GenerationConfig& config, const formats::Checkpoint& checkpoint,
                                std::optional<int64_t> prompt_tokens) const {
  try {
    config.validate();
  } catch (const Error& error) {
    fail_in_option_words(error);
  }
  const Json options = given();
  const int64_t vocabulary = vocabulary_of(checkpoint.config());
  for (const Entry& entry : kEntries) {
    const Json* value = find_member(options, key_of(entry.name));
    if (value == nullptr) continue;
    if (vocabulary > 0) check_ids(entry, *value, vocabulary);
    if ((entry.reader == Reader::sampling || entry.reader == Reader::sampling_or_contrastive) && is_at_limit())
      continue;
    if (!is_neutral(entry, *value)) {
      check_read(entry, options, config, !draft_.empty());
    }
  }
  if (!draft_.empty()) check_read(kDraft, options, config, true);
  check_lengths(options, config, prompt_tokens);
}

std::vector<std::pair<std::string, std::string>> DecodingOptions::defaults() {
  std::vector<std::pair<std::string, std::string>> list;
  for (const Entry& entry : kEntries) {
    if (*entry.shown != '\0') list.emplace_back(entry.name, entry.shown);
  }
  return list;
}

void choose_seed(generate::GenerationConfig& config) { config.seed = std::random_device()(); }

namespace {

std::optional<Error> fault_of(const generate::GenerationConfig& config) {
  try {
    config.validate();
  } catch (const Error& error) {
    return error;
  }
  return std::nullopt;
}

}  // namespace

generate::GenerationConfig DecodingOptions::config(const formats::Checkpoint& checkpoint) const {
  const generate::GenerationConfig stored = generate::load_generation_config(checkpoint);
  generate::GenerationConfig config = stored;
  try {
    config.update(given(), kCommandLine);
  } catch (const Error& error) {
    fail_in_option_words(error);
  }
  // What is wrong without the command line as well is the file's fault.
  const std::optional<Error> now = fault_of(config), before = now ? fault_of(stored) : std::nullopt;
  if (before && before->code() == ErrorCode::invalid_argument && std::string_view(now->what()) == before->what()) {
    const bool has_file = !checkpoint.side_file("generation_config.json").empty();
    fail_file(FileFault::range, checkpoint.place_of(has_file ? "generation_config.json" : "config.json"), "{}",
              before->what());
  }
  return config;
}

}  // namespace caravan::cli
