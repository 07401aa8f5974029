#include "caravan/formats/carried_files.h"

#include <fmt/format.h>

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

// Those of the names that there are.
void take(TextFiles& files, const auto& names, const auto& read) {
  for (const std::string_view name : names) {
    if (std::string text = read(name); !text.empty()) files.emplace(name, std::move(text));
  }
}

}  // namespace

bool restates_vocabulary(std::string_view name) { return is_one_of(kVocabularies, name); }
bool is_tokenizer_file(std::string_view name) { return is_one_of(kTokenizerFiles, name) || restates_vocabulary(name); }
bool is_carried_file(std::string_view name) { return is_tokenizer_file(name) || is_one_of(kOtherFiles, name); }

TextFiles carried_files(const Checkpoint& from) {
  TextFiles files;
  const auto read = [&](std::string_view name) { return from.side_file(name); };
  take(files, kTokenizerFiles, read), take(files, kVocabularies, read), take(files, kOtherFiles, read);
  return files;
}

TextFiles tokenizer_files_in(const std::string& folder) {
  TextFiles files;
  const auto read = [&](std::string_view name) { return read_side_file(fmt::format("{}/{}", folder, name)); };
  take(files, kTokenizerFiles, read), take(files, kVocabularies, read);
  return files;
}

}  // namespace caravan::formats
