// Task heads on any decoder backbone, with transformers' classes' parameter names and losses.
//
//   CausalLm              logits [T, V]; loss with the label shift inside each sequence
//   SequenceClassifier    logits [B, labels] at each sequence's last real token; regression, single- or multi-label
//   TokenClassifier       logits [T, labels]
//   QuestionAnswerer      start and end logits [T] each
//   Backbone              no head: hidden states [T, C]
//
// Labels use -100 as the ignore index. Losses are fp32 scalars.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/models/decoder.h"
#include "caravan/models/registry.h"
#include "caravan/nn/linear.h"
#include "caravan/ops/linear.h"

namespace caravan::models {

inline constexpr std::string_view kConfigFile = "config.json";

// What all heads share: the backbone, its config and the family. `where`: what errors call the config.
class Head : public nn::Module {
 public:
  explicit Head(const Json& config, std::string_view where = kConfigFile);
  Decoder& backbone() { return *backbone_; }
  const Family& family() const { return *family_; }
  const Json& config() const { return config_; }
  Json& mutable_config() { return config_; }
  const std::string& where() const { return where_; }
  virtual std::string architecture() const = 0;  // "LlamaForCausalLM"

 protected:
  Json config_;
  std::string where_;
  const Family* family_;
  std::unique_ptr<Decoder> backbone_;
};

// The backbone alone, its tensors named without a prefix: what transformers' AutoModel saves.
class Backbone final : public Head {
 public:
  explicit Backbone(const Json& config, std::string_view where = kConfigFile);
  std::string architecture() const override;  // "LlamaModel"
  std::string_view kind() const override { return "Backbone"; }
};

class CausalLm final : public Head {  // transformers: XForCausalLM
 public:
  explicit CausalLm(const Json& config, std::string_view where = kConfigFile);
  Tensor forward(const Tensor& ids, nn::Step& step);  // [T] -> logits [T, V]
  Tensor hidden(const Tensor& ids, nn::Step& step);   // [T] -> [T, C], or the step's output_rows of it
  Tensor logits(const Tensor& hidden);                // [R, C] -> [R, V], any rows of the hidden states
  // labels int64 [T], unshifted: row t is predicted from row t - 1 of the same sequence.
  static Tensor loss(const Tensor& logits, const Tensor& labels, const nn::Step& step);
  std::string architecture() const override;
  bool tied() const { return tied_; }
  const Tensor& output_weight();  // [V, C] dense: lm_head's, or the embeddings' where they are tied
  std::string_view kind() const override { return "CausalLm"; }

 private:
  bool tied_;
  nn::Linear lm_head_;  // unused where tied
};

class SequenceClassifier final : public Head {
 public:
  explicit SequenceClassifier(const Json& config, std::string_view where = kConfigFile);
  // rows: per sequence the row that is pooled; empty for the last row of each.
  Tensor forward(const Tensor& embeddings, nn::Step& step, const std::vector<int64_t>& rows = {});  // -> [B, labels]
  // labels: float [B] or [B, labels] (regression, multi-label), int64 [B] (single-label). The problem type is the
  // config's, or follows from the labels as transformers decides it.
  Tensor loss(const Tensor& logits, const Tensor& labels) const;
  std::string architecture() const override;
  std::string_view kind() const override { return "SequenceClassifier"; }

 private:
  nn::Linear score_;
};

class TokenClassifier final : public Head {
 public:
  explicit TokenClassifier(const Json& config, std::string_view where = kConfigFile);
  Tensor forward(const Tensor& embeddings, nn::Step& step);  // -> [T, labels]
  static Tensor loss(const Tensor& logits, const Tensor& labels);
  std::string architecture() const override;
  std::string_view kind() const override { return "TokenClassifier"; }

 private:
  nn::Linear score_;
  double dropout_;
};

class QuestionAnswerer final : public Head {
 public:
  explicit QuestionAnswerer(const Json& config, std::string_view where = kConfigFile);
  Tensor forward(const Tensor& embeddings, nn::Step& step);  // -> [T, 2]: start, end
  // start and end: int64 [B] positions in each sequence; out-of-range ones are clamped to the length and ignored there.
  static Tensor loss(const Tensor& logits, const Tensor& start, const Tensor& end, const nn::Step& step);
  std::string architecture() const override;
  std::string_view kind() const override { return "QuestionAnswerer"; }

 private:
  nn::Linear qa_outputs_;
};

// num_labels, or the size of id2label; 2 where neither is given.
int64_t label_count(const Json& config, std::string_view where);

}  // namespace caravan::models
