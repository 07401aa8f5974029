#include "caravan/items/word_tokenizer.h"

namespace caravan::items {

Json word_tokenizer(const Words& words) {
  Json::object_t vocabulary;  // ordered, each word new: no search for every insertion
  Json added = Json::array();
  for (const std::string& token : words.special) {
    added.push_back({{"id", vocabulary.size()},
                     {"content", token},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
    vocabulary.emplace_back(token, vocabulary.size());
  }
  for (const std::string& word : words.words) vocabulary.emplace_back(word, vocabulary.size());
  const Json spaces = {{"type", "WhitespaceSplit"}};
  const Json split = {
      {"type", "Split"}, {"pattern", {{"Regex", "<[a-z]+[_:][0-9]+>"}}}, {"behavior", "Isolated"}, {"invert", false}};
  const Json both = {{"type", "Sequence"}, {"pretokenizers", Json::array({spaces, split})}};
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", added},
          {"normalizer", nullptr},
          {"pre_tokenizer", words.apart ? both : spaces},
          {"post_processor", nullptr},
          {"decoder", nullptr},
          {"model", {{"type", "WordLevel"}, {"vocab", std::move(vocabulary)}, {"unk_token", words.unknown}}}};
}

std::vector<std::string> code_words(const ItemCodes& codes) {
  std::vector<std::string> words;
  for (int64_t level = 0; level < codes.levels(); ++level) {
    for (int32_t code = 0; code < codes.sizes()[static_cast<size_t>(level)]; ++code)
      words.push_back(code_token(level, code));
  }
  return words;
}

std::map<std::string, std::string> tokenizer_companions(const Json& named, std::optional<int64_t> max_length) {
  Json config = named;
  config["tokenizer_class"] = "PreTrainedTokenizerFast";
  if (max_length) config["model_max_length"] = *max_length;
  config["padding_side"] = "left";  // generation continues the last token
  config["clean_up_tokenization_spaces"] = false;
  return {{"tokenizer_config.json", dump_json(config) + "\n"}, {"special_tokens_map.json", dump_json(named) + "\n"}};
}

}  // namespace caravan::items
