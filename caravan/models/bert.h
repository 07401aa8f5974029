// BERT (Devlin et al. 2019), the encoder: learned positions, post-norm layers, every token sees its whole sequence.
//
//   auto bert = load_bert(*formats::Checkpoint::open("all-MiniLM-L6-v2"));
//   nn::Step step = nn::Step::packed(lengths);                       // ragged: no padding is computed
//   Tensor hidden = (*bert)(ids, step);                              // int64 [T] -> [T, C]
//
// Parameter names are those of transformers' BertModel; a "bert." in front, old LayerNorm.gamma/beta names, the pooler
// and the heads of other classes are accepted and, but for the names, ignored. Left out: cross-attention, relative
// positions, the pooler's output. RoBERTa, MPNet and others number positions or name tensors differently: refused.
#pragma once

#include <memory>
#include <string>

#include "caravan/base/json.h"
#include "caravan/formats/checkpoint.h"
#include "caravan/nn/attention.h"
#include "caravan/nn/layer_norm.h"
#include "caravan/ops/activation.h"

namespace caravan::models {

using at::Tensor;

struct BertConfig {
  int64_t vocab_size = 0, hidden_size = 0, layers = 0, heads = 0, intermediate_size = 0;
  int64_t max_positions = 512, token_types = 2;
  double eps = 1e-12, hidden_dropout = 0.0, attention_dropout = 0.0;
  ops::Activation activation = ops::Activation::gelu;

  static BertConfig read(const Json& config);  // corrupt_file for values out of range, unsupported for other kinds
};

class BertEmbeddings final : public nn::Layer<BertEmbeddings> {
 public:
  explicit BertEmbeddings(const BertConfig& config);
  Tensor forward(const Tensor& ids, const Tensor& token_types, const nn::Step& step);  // int64 [T] -> [T, C]
  std::string_view kind() const override { return "BertEmbeddings"; }

  nn::Embedding word_embeddings, position_embeddings, token_type_embeddings;
  nn::LayerNorm layer_norm;
};

// query, key, value of one layer, and softmax(q k^T / sqrt(D)) v over the whole sequence.
class BertSelfAttention final : public nn::Layer<BertSelfAttention> {
 public:
  BertSelfAttention(const BertConfig& config, int64_t layer);
  Tensor forward(const Tensor& x, nn::Step& step);
  std::string_view kind() const override { return "BertSelfAttention"; }

  nn::Linear query, key, value;

 private:
  int64_t heads_, layer_;
  double dropout_;
};

// x -> LayerNorm(dense(x) + residual), the end of both halves of a layer.
class BertOutput final : public nn::Layer<BertOutput> {
 public:
  BertOutput(int64_t in, const BertConfig& config);
  Tensor forward(const Tensor& x, const Tensor& residual);
  std::string_view kind() const override { return "BertOutput"; }

  nn::Linear dense;
  nn::LayerNorm layer_norm;

 private:
  double dropout_;
};

class BertLayer final : public nn::Layer<BertLayer> {
 public:
  BertLayer(const BertConfig& config, int64_t layer);
  Tensor forward(const Tensor& x, nn::Step& step);  // [T, C]
  std::string_view kind() const override { return "BertLayer"; }

  BertSelfAttention self_attention;
  BertOutput attention_output;
  nn::Linear intermediate;
  BertOutput output;

 private:
  // Names without equations of their own: "attention" holds "self" and "output", "intermediate" holds "dense".
  struct Group final : nn::Module {
    using nn::Module::add;
  };
  Group attention_group_, intermediate_group_;
  ops::Activation activation_;
};

class BertModel final : public nn::Layer<BertModel> {
 public:
  explicit BertModel(const BertConfig& config);
  // token_types int64 [T]; undefined: all 0. Hidden states are captured as transformers orders them where asked.
  Tensor forward(const Tensor& ids, nn::Step& step, const Tensor& token_types = {});
  std::string_view kind() const override { return "BertModel"; }
  const BertConfig& config() const { return config_; }

  BertEmbeddings embeddings;
  nn::ModuleList<BertLayer> layer;

 private:
  struct Group final : nn::Module {
    using nn::Module::add;
  };
  Group encoder_group_;
  BertConfig config_;
};

// In fp32. Missing and mis-shaped tensors are listed together (corrupt_file with fault layout).
std::unique_ptr<BertModel> load_bert(const formats::Checkpoint& checkpoint);

}  // namespace caravan::models
