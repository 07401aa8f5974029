// A sentence encoder as sentence-transformers packs it: a BERT checkpoint, pooling, normalization.
//
//   TextEncoder encoder("all-MiniLM-L6-v2");
//   Tensor x = encoder.encode(texts);                       // [N, C], rows in the order of the texts
//
// modules.json lists the stages; 1_Pooling/config.json says cls, mean, max or mean over sqrt(length);
// sentence_bert_config.json the longest input and whether texts are lower-cased; config_sentence_transformers.json the
// prompt that every text begins with (default_prompt_name). A plain BERT folder without modules.json is pooled by the
// mean. Texts are sorted by length and run as ragged batches: nothing is padded. Left out, and refused: Dense stages,
// prompts that are not pooled.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "caravan/models/bert.h"
#include "caravan/text/tokenizer.h"

namespace caravan::codes {

using at::Tensor;

class TextEncoder {
 public:
  explicit TextEncoder(const std::string& folder);
  ~TextEncoder();

  using Progress = std::function<void(uint64_t done, uint64_t total)>;  // texts
  Tensor encode(std::span<const std::string> texts, const Progress& progress = {});
  int64_t width() const { return model_->config().hidden_size; }

 private:
  enum class Pooling { mean, cls, max, mean_sqrt_length };
  void read_stages(const std::string& folder);
  void read_prompt(const std::string& folder);
  Tensor pool(const Tensor& hidden) const;  // [T, C] of one text -> [C]

  std::unique_ptr<models::BertModel> model_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  Pooling pooling_ = Pooling::mean;
  bool normalize_ = false, lower_case_ = false;
  std::string prompt_;
  int64_t max_length_ = 0;
};

}  // namespace caravan::codes
