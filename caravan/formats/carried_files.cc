#include "caravan/formats/carried_files.h"

#include <algorithm>
#include <iterator>

#include "caravan/formats/side_file.h"

namespace caravan::formats {
namespace {

constexpr std::string_view kTokenizerFiles[] = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                                                "chat_template.jinja"};
constexpr std::string_view kVocabularies[] = {"tokenizer.model", "added_tokens.json", "vocab.json", "vocab.txt",
                                              "merges.txt"};
constexpr std::string_view kOtherFiles[] = {"generation_config.json", "preprocessor_config.json",
                                            "processor_config.json", "items.jsonl",
                                            "codes.json"};  // the last two are a recommender's

bool is_one_of(const auto& names, std::string_view name) { return std::ranges::find(names, name) != std::end(names); }

}  // namespace

bool restates_vocabulary(std::string_view name) { return is_one_of(kVocabularies, name); }
bool is_tokenizer_file(std::string_view name) { return is_one_of(kTokenizerFiles, name) || restates_vocabulary(name); }
bool is_carried_file(std::string_view name) { return is_tokenizer_file(name) || is_one_of(kOtherFiles, name); }

TextFiles carried_files(const Checkpoint& from) {
  TextFiles files;
  const auto take = [&](const auto& names) {
    for (const std::string_view name : names) {
      if (std::string text = from.side_file(name); !text.empty()) files.emplace(name, std::move(text));
    }
  };
  take(kTokenizerFiles), take(kVocabularies), take(kOtherFiles);
  return files;
}

TextFiles tokenizer_files_in(const std::string& folder) {
  TextFiles files;
  const auto take = [&](const auto& names) {
    for (const std::string_view name : names) {
      std::string text = read_side_file(folder + "/" + std::string(name));
      if (!text.empty()) files.emplace(name, std::move(text));
    }
  };
  take(kTokenizerFiles), take(kVocabularies);
  return files;
}

}  // namespace caravan::formats
