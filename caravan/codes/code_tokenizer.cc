#include "caravan/codes/code_tokenizer.h"

#include <algorithm>
#include <set>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/json.h"
#include "caravan/items/word_tokenizer.h"

namespace caravan::codes {
namespace {

constexpr int64_t kMostWords = 1 << 24;

// Every code below the largest of its level.
void fill_codebooks(std::set<std::string>& words) {
  std::map<int64_t, int32_t> largest;
  for (const std::string& word : words) {
    if (const auto code = items::parse_code_token(word))
      largest[code->level] = std::max(largest[code->level], code->code);
  }
  int64_t count = 0;
  for (const auto& [level, top] : largest) count += int64_t{top} + 1;
  check(count <= kMostWords, ErrorCode::invalid_argument,
        "whole codebooks would have {} words, at most {} are sensible: is a code mistyped?", count, kMostWords);
  for (const auto& [level, top] : largest) {
    for (int32_t code = 0; code <= top; ++code) words.insert(items::code_token(level, code));
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

// [BOS] $A [EOS], by option.
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

CodeTokenizer build(std::vector<std::string> words, bool apart, const CodeTokenizerOptions& options) {
  check(options.max_length > 0, ErrorCode::invalid_argument, "the maximal length must be positive, got {}",
        options.max_length);
  check((!options.add_bos || !options.bos.empty()) && (!options.add_eos || !options.eos.empty()),
        ErrorCode::invalid_argument, "a token to add around texts must have a name");
  const std::vector<std::string> special = special_tokens(options);
  std::erase_if(words, [&](const std::string& word) { return std::ranges::find(special, word) != special.end(); });
  Json tokenizer = items::word_tokenizer(
      {.special = special, .words = std::move(words), .unknown = options.unknown, .apart = apart});
  tokenizer["post_processor"] = post_processor(options, tokenizer["model"]["vocab"]);
  std::map<std::string, std::string> files = items::tokenizer_companions(named_tokens(options), options.max_length);
  const std::string& json = files["tokenizer.json"] = dump_json(tokenizer);
  return {.tokenizer = text::Tokenizer::from_json(json, "tokenizer.json"), .files = std::move(files)};
}

}  // namespace

CodeTokenizer create_rq_code_tokenizer(std::span<const std::string> texts, const CodeTokenizerOptions& options) {
  std::set<std::string> words;  // UTF-8 sorts as its characters do
  for (const std::string_view text : texts) {
    // As the original splits: two spaces have an empty word between them, which takes an id and is never met.
    for (size_t at = 0; at <= text.size();) {
      const size_t end = std::min(text.find(' ', at), text.size());
      words.emplace(text.substr(at, end - at));
      at = end + 1;
    }
  }
  check(std::ranges::any_of(words, [](const std::string& word) { return !word.empty(); }), ErrorCode::invalid_argument,
        "no item codes to make a tokenizer of");
  if (options.whole_codebooks) fill_codebooks(words);
  return build({words.begin(), words.end()}, /*apart=*/false, options);
}

CodeTokenizer create_rq_code_tokenizer(const items::ItemCodes& codes, int64_t max_length) {
  std::vector<std::string> words = items::code_words(codes);
  check(!words.empty(), ErrorCode::invalid_argument, "no item codes to make a tokenizer of");
  return build(std::move(words), /*apart=*/true,
               {.pad = "<pad>", .unknown = "<unk>", .bos = "<s>", .eos = "</s>", .max_length = max_length});
}

void write_code_tokenizer(const CodeTokenizer& tokenizer, const std::string& folder) {
  for (const auto& [name, contents] : tokenizer.files) write_file(folder + "/" + name, contents);
}

}  // namespace caravan::codes
