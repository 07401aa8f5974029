#include "caravan/codes/code_tokenizer.h"

#include <algorithm>
#include <set>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/json.h"
#include "caravan/items/word_tokenizer.h"

namespace caravan::codes {
namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f'; }

constexpr int64_t kMostWords = 1 << 24;

struct ByLevel {
  bool operator()(const items::Code& a, const items::Code& b) const {
    return a.level != b.level ? a.level < b.level : a.code < b.code;
  }
};
using CodeSet = std::set<items::Code, ByLevel>;

void fill_codebooks(CodeSet& codes) {
  std::map<int64_t, int32_t> largest;
  for (const items::Code& code : codes) largest[code.level] = std::max(largest[code.level], code.code);
  int64_t words = 0;
  for (const auto& [level, top] : largest) words += int64_t{top} + 1;
  check(words <= kMostWords, ErrorCode::invalid_argument,
        "whole codebooks would have {} words, at most {} are sensible: is a code mistyped?", words, kMostWords);
  for (const auto& [level, top] : largest) {
    for (int32_t code = 0; code <= top; ++code) codes.insert({level, code});
  }
}

std::vector<std::string> special_tokens(const CodeTokenizerOptions& options) {
  std::vector<std::string> tokens;
  for (const std::string& token : {options.pad, options.unknown, options.bos, options.eos}) {
    if (!token.empty()) tokens.push_back(token);
  }
  tokens.insert(tokens.end(), options.more_special.begin(), options.more_special.end());
  for (size_t i = 0; i < tokens.size(); ++i) {
    check(!tokens[i].empty() && std::find(tokens.begin(), tokens.begin() + i, tokens[i]) == tokens.begin() + i,
          ErrorCode::invalid_argument, "the special token '{}' is empty or named twice", tokens[i]);
    check(!items::parse_code_token(tokens[i]), ErrorCode::invalid_argument,
          "the special token '{}' looks like an item code", tokens[i]);
  }
  check(!options.unknown.empty(), ErrorCode::invalid_argument, "a code tokenizer needs an unknown token");
  return tokens;
}

// <s> $A </s>, by option.
Json post_processor(const CodeTokenizerOptions& options, const Json& vocabulary) {
  if (!options.add_bos && !options.add_eos) return nullptr;
  Json used = Json::object();
  const auto sequence = [&](const char* id, int type) {
    Json parts = Json::array();
    const auto special = [&](const std::string& token) {
      parts.push_back({{"SpecialToken", {{"id", token}, {"type_id", type}}}});
      used[token] = {{"id", token}, {"ids", Json::array({vocabulary.at(token)})}, {"tokens", Json::array({token})}};
    };
    if (options.add_bos) special(options.bos);
    parts.push_back({{"Sequence", {{"id", id}, {"type_id", type}}}});
    if (options.add_eos) special(options.eos);
    return parts;
  };
  const Json single = sequence("A", 0);
  Json pair = single;
  for (const Json& part : sequence("B", 1)) pair.push_back(part);
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", used}};
}

Json tokenizer_json(const std::vector<std::string>& special, const CodeSet& codes,
                    const CodeTokenizerOptions& options) {
  items::Words words{.special = special, .words = {}, .unknown = options.unknown};
  for (const items::Code& code : codes) words.words.push_back(items::code_token(code.level, code.code));
  Json json = items::word_tokenizer(words);
  json["post_processor"] = post_processor(options, json["model"]["vocab"]);
  return json;
}

Json named_tokens(const CodeTokenizerOptions& options) {
  Json named = Json::object();
  const std::pair<const char*, const std::string&> roles[] = {{"bos_token", options.bos},
                                                              {"eos_token", options.eos},
                                                              {"unk_token", options.unknown},
                                                              {"pad_token", options.pad}};
  for (const auto& [role, token] : roles) {
    if (!token.empty()) named[role] = token;
  }
  if (!options.more_special.empty()) named["additional_special_tokens"] = options.more_special;
  return named;
}

CodeTokenizer build(CodeSet codes, const CodeTokenizerOptions& options) {
  check(!codes.empty(), ErrorCode::invalid_argument, "no item codes to make a tokenizer of");
  check(options.max_length > 0, ErrorCode::invalid_argument, "the maximal length must be positive, got {}",
        options.max_length);
  check((!options.add_bos || !options.bos.empty()) && (!options.add_eos || !options.eos.empty()),
        ErrorCode::invalid_argument, "a token to add around texts must have a name");
  if (options.whole_codebooks) fill_codebooks(codes);
  const std::string json = dump_json(tokenizer_json(special_tokens(options), codes, options));
  Json config = named_tokens(options);
  config["tokenizer_class"] = "PreTrainedTokenizerFast";
  config["model_max_length"] = options.max_length;
  config["padding_side"] = "left";  // generation continues the last token
  config["clean_up_tokenization_spaces"] = false;
  return {.tokenizer = text::Tokenizer::from_json(json, "tokenizer.json"),
          .files = {{"tokenizer.json", json},
                    {"tokenizer_config.json", dump_json(config) + "\n"},
                    {"special_tokens_map.json", dump_json(named_tokens(options)) + "\n"}}};
}

}  // namespace

std::vector<items::Code> parse_codes(std::string_view text, std::string_view where) {
  std::vector<items::Code> codes;
  for (size_t at = 0; at < text.size();) {
    if (is_space(text[at])) {
      ++at;
      continue;
    }
    const size_t end = text.find('>', at);
    const auto word = text.substr(at, end == std::string_view::npos ? end : end + 1 - at);
    const auto code = items::parse_code_token(word);
    check(code.has_value(), ErrorCode::invalid_argument,
          "{}: expected code words such as <a_101> <b_42>, got '{}' at byte {}", where, word.substr(0, 40), at);
    codes.push_back(*code);
    at = end + 1;
  }
  return codes;
}

CodeTokenizer create_rq_code_tokenizer(std::span<const std::string> texts, const CodeTokenizerOptions& options) {
  CodeSet codes;
  for (size_t i = 0; i < texts.size(); ++i) {
    for (const items::Code& code : parse_codes(texts[i], fmt::format("text {}", i + 1))) codes.insert(code);
  }
  return build(std::move(codes), options);
}

CodeTokenizer create_rq_code_tokenizer(const items::ItemCodes& codes, const CodeTokenizerOptions& options) {
  CodeSet words;
  for (int64_t level = 0; level < codes.levels(); ++level) {
    for (int32_t code = 0; code < codes.sizes()[level]; ++code) words.insert({level, code});
  }
  return build(std::move(words), options);
}

void write_code_tokenizer(const CodeTokenizer& tokenizer, const std::string& folder) {
  for (const auto& [name, contents] : tokenizer.files) write_file(folder + "/" + name, contents);
}

}  // namespace caravan::codes
