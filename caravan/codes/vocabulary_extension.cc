#include "caravan/codes/vocabulary_extension.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "caravan/base/error.h"
#include "caravan/formats/carried_files.h"
#include "caravan/items/word_tokenizer.h"
#include "caravan/models/load.h"

namespace caravan::codes {
namespace {

using at::Tensor;

// The tokens of a tokenizer.json: the model's vocabulary (an object, or Unigram's list) and the added tokens.
struct KnownTokens {
  std::unordered_map<std::string, int64_t> ids;
  int64_t next = 0;  // what Hugging Face's add_tokens gives a new word
};

KnownTokens known_tokens(const Json& tokenizer, std::string_view where) {
  KnownTokens known;
  const Json* model = find_member(tokenizer, "model");
  const Json* vocabulary = model == nullptr ? nullptr : find_member(*model, "vocab");
  check_file(vocabulary != nullptr && vocabulary->is_structured(), FileFault::layout, where,
             "no vocabulary in the tokenizer");
  int64_t index = 0;
  for (const auto& [word, value] : vocabulary->items()) {
    if (vocabulary->is_object()) {
      check_file(value.is_number_integer(), FileFault::type, where, "the id of '{}' is no integer", word);
      known.ids.emplace(word, value.get<int64_t>());
    } else {
      check_file(value.is_array() && !value.empty() && value[0].is_string(), FileFault::type, where,
                 "entry {} of the vocabulary is no pair of word and score", index);
      known.ids.emplace(value[0].get<std::string>(), index++);
    }
  }
  known.next = std::ssize(known.ids);
  if (const Json* added = find_member(tokenizer, "added_tokens")) {
    for (const Json& token : *added) {
      const int64_t id = get_int(token, "id", where, {.min = 0, .max = 1 << 30});
      known.ids[get_string(token, "content", where)] = id;
      known.next = std::max(known.next, id + 1);
    }
  }
  for (const auto& [word, id] : known.ids) {
    check(id < known.next, ErrorCode::unsupported,
          "{}: the ids have holes ('{}' is {}, but there are fewer tokens): new words would take its id", where, word,
          id);
  }
  return known;
}

// `old` [V, C] with the rows `ids` new: mean + spread * std * normal.
Tensor extended(const Tensor& old, int64_t known, int64_t rows, const std::vector<int64_t>& ids,
                const ExtensionOptions& options) {
  const Tensor wide = old.slice(0, 0, known).to(at::kDouble);
  const Tensor mean = wide.mean(0), deviation = (wide - mean).square().mean(0).sqrt();
  at::Generator generator = at::detail::createCPUGenerator(options.seed);
  Tensor result = at::zeros({rows, old.size(1)}, old.options());
  result.slice(0, 0, old.size(0)).copy_(old);
  const Tensor noise = at::randn({std::ssize(ids), old.size(1)}, generator, at::kDouble);
  const Tensor fresh = (mean + options.spread * deviation * noise).to(old.scalar_type());
  result.index_copy_(0, at::tensor(ids, at::kLong), fresh);
  return result;
}

}  // namespace

std::string add_words(const std::string& tokenizer_json, const std::vector<std::string>& words,
                      std::vector<int64_t>& ids, std::string_view where) {
  Json tokenizer = parse_json(tokenizer_json, where);
  KnownTokens known = known_tokens(tokenizer, where);
  if (!tokenizer.contains("added_tokens") || !tokenizer["added_tokens"].is_array()) {
    tokenizer["added_tokens"] = Json::array();
  }
  for (const std::string& word : words) {
    if (const auto found = known.ids.find(word); found != known.ids.end()) {
      ids.push_back(found->second);
      continue;
    }
    tokenizer["added_tokens"].push_back({{"id", known.next},
                                         {"content", word},
                                         {"single_word", false},
                                         {"lstrip", false},
                                         {"rstrip", false},
                                         {"normalized", false},
                                         {"special", false}});
    ids.push_back(known.next++);
  }
  return dump_json(tokenizer);
}

Extension extend_vocabulary(const formats::Checkpoint& checkpoint, const items::ItemCodes& codes,
                            const std::string& output, const ExtensionOptions& options) {
  check(std::isfinite(options.spread) && options.spread >= 0, ErrorCode::invalid_argument,
        "the spread of new rows must be a number from 0 on, got {}", options.spread);
  const torch::NoGradGuard no_grad;
  const std::string tokenizer = checkpoint.side_file("tokenizer.json");
  check(!tokenizer.empty(), ErrorCode::not_found,
        "{}: no tokenizer.json; convert the checkpoint to a safetensors folder first (caravan convert)",
        checkpoint.path());
  const auto old = models::load_causal_lm(checkpoint);
  std::vector<int64_t> ids;
  models::SaveOptions save{.side_files = options.side_files};
  for (auto& [name, text] : formats::carried_files(checkpoint)) {
    if (!formats::restates_vocabulary(name)) save.side_files.emplace(name, std::move(text));
  }
  save.side_files["tokenizer.json"] =
      add_words(tokenizer, items::code_words(codes), ids, checkpoint.path() + "/tokenizer.json");
  check(!ids.empty(), ErrorCode::invalid_argument, "there are no item codes to append");
  Extension result{.first_id = *std::min_element(ids.begin(), ids.end()),
                   .added = std::ssize(ids),
                   .old_rows = old->backbone().vocab_size()};
  result.rows = std::max(result.old_rows, *std::max_element(ids.begin(), ids.end()) + 1);
  Json config = old->config();
  config["vocab_size"] = result.rows;
  for (const auto& [key, value] : options.config.items()) config[key] = value;
  models::CausalLm model(config);
  const auto from = old->named_parameters(), to = model.named_parameters();
  // Rows of words that the tokenizer does not have (a padded vocabulary) say nothing about the others.
  const int64_t known = std::min(result.old_rows, result.first_id);
  for (size_t i = 0; i < from.size(); ++i) {
    check(from[i].name == to[i].name, ErrorCode::internal, "{} and {}: the enlarged model has other tensors",
          from[i].name, to[i].name);
    const bool grows = from[i].parameter->shape != to[i].parameter->shape || from[i].name == "lm_head.weight" ||
                       from[i].parameter == &old->backbone().input_embedding().weight;
    to[i].parameter->value =
        grows ? extended(from[i].parameter->value, known, result.rows, ids, options) : from[i].parameter->value;
    to[i].parameter->dtype = from[i].parameter->dtype;
  }
  models::save_model(model, output, save);
  return result;
}

}  // namespace caravan::codes
