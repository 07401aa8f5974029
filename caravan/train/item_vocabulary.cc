#include "caravan/train/item_vocabulary.h"

#include <fmt/format.h>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/items/word_tokenizer.h"

namespace caravan::train {
namespace {

items::ItemCodes catalogue_codes(const data::Dataset& dataset, const std::string& folder) {
  std::vector<int32_t> sizes;
  std::vector<std::vector<int32_t>> tuples;
  for (const items::Item& item : dataset.items) {
    std::string text;
    for (const std::string& word : item.codes) text += word;
    const auto tuple = items::parse_code_tuple(text);
    check(tuple.has_value() && !tuple->empty(), ErrorCode::not_found,
          "{}: the item '{}' has no codes: 'caravan items build {}' makes them; or set data.codes to a file that has "
          "them",
          folder, item.id, folder);
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
  if (path.empty() && !file_exists(own)) return catalogue_codes(dataset, folder);
  return items::read_codes_for(items::ids_of(dataset.items), path.empty() ? own : path);
}

std::string item_word(int64_t item) { return fmt::format("<item:{}>", item); }

std::string user_word(int64_t number) { return fmt::format("<user:{}>", number); }

std::map<std::string, std::string> item_tokenizer_files(const items::ItemCodes& codes, const ItemWords& words) {
  items::Words all{
      .special = {"<pad>", "<bos>", "<eos>", "<unk>"}, .words = items::code_words(codes), .unknown = "<unk>"};
  for (int64_t item = 0; words.items && item < codes.items(); ++item) all.words.push_back(item_word(item));
  for (int64_t user = 0; user < words.users; ++user) all.words.push_back(user_word(user));
  std::map<std::string, std::string> files = items::tokenizer_companions(
      {{"bos_token", "<bos>"}, {"eos_token", "<eos>"}, {"unk_token", "<unk>"}, {"pad_token", "<pad>"}});
  files["tokenizer.json"] = dump_json(items::word_tokenizer(all));
  return files;
}

}  // namespace caravan::train
