#include "caravan/train/item_vocabulary.h"

#include <fmt/format.h>

#include "caravan/base/error.h"
#include "caravan/base/file.h"

namespace caravan::train {
namespace {

items::ItemCodes catalogue_codes(const data::Dataset& dataset) {
  std::vector<int32_t> sizes;
  std::vector<std::vector<int32_t>> tuples;
  for (const items::Item& item : dataset.items) {
    std::string text;
    for (const std::string& word : item.codes) text += word;
    const auto tuple = items::parse_code_tuple(text);
    check(tuple.has_value() && !tuple->empty(), ErrorCode::not_found,
          "the item '{}' has no codes: make them first, or set data.codes to a file that has them", item.id);
    if (sizes.size() < tuple->size()) sizes.resize(tuple->size(), 0);
    for (size_t l = 0; l < tuple->size(); ++l) sizes[l] = std::max(sizes[l], (*tuple)[l] + 1);
    tuples.push_back(*tuple);
  }
  items::ItemCodes codes(sizes);
  for (const auto& tuple : tuples) codes.add(tuple);
  return codes;
}

// One level, a code of its own for every item.
items::ItemCodes own_codes(int64_t items) {
  items::ItemCodes codes({static_cast<int32_t>(items)});
  for (int32_t item = 0; item < static_cast<int32_t>(items); ++item) codes.add(std::vector<int32_t>{item});
  return codes;
}

}  // namespace

items::ItemCodes read_item_codes(const data::Dataset& dataset, const std::string& folder, const std::string& path) {
  if (path == kItemIds) return own_codes(dataset.items.size());
  const std::string own = folder + "/" + std::string(items::kCodesFile);
  if (path.empty() && !file_exists(own)) return catalogue_codes(dataset);
  return items::read_codes_for(items::ids_of(dataset.items), path.empty() ? own : path);
}

std::string item_word(int64_t item) { return fmt::format("<item:{}>", item); }

std::string user_word(int64_t number) { return fmt::format("<user:{}>", number); }

std::string item_tokenizer_json(const items::ItemCodes& codes, const ItemWords& words) {
  Json vocabulary = Json::object(), added = Json::array();
  int64_t next = 0;
  for (const char* word : {"<pad>", "<bos>", "<eos>", "<unk>"}) {
    added.push_back({{"id", next},
                     {"content", word},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
    vocabulary[word] = next++;
  }
  for (int64_t level = 0; level < codes.levels(); ++level) {
    for (int32_t code = 0; code < codes.sizes()[static_cast<size_t>(level)]; ++code)
      vocabulary[items::code_token(level, code)] = next++;
  }
  for (int64_t item = 0; words.items && item < codes.items(); ++item) vocabulary[item_word(item)] = next++;
  for (int64_t user = 0; user < words.users; ++user) vocabulary[user_word(user)] = next++;
  // White space separates and goes; a word stands alone whatever is beside it, as in the codes' own tokenizer.
  const Json split = Json::array({{{"type", "WhitespaceSplit"}},
                                  {{"type", "Split"},
                                   {"pattern", {{"Regex", "<[a-z]+[_:][0-9]+>"}}},
                                   {"behavior", "Isolated"},
                                   {"invert", false}}});
  return dump_json({{"version", "1.0"},
                    {"truncation", nullptr},
                    {"padding", nullptr},
                    {"added_tokens", added},
                    {"normalizer", nullptr},
                    {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", split}}},
                    {"post_processor", nullptr},
                    {"decoder", nullptr},
                    {"model", {{"type", "WordLevel"}, {"vocab", vocabulary}, {"unk_token", "<unk>"}}}});
}

}  // namespace caravan::train
