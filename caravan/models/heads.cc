#include "caravan/models/heads.h"

#include <torch/torch.h>

#include "caravan/base/error.h"
#include "caravan/ops/cross_entropy.h"

namespace caravan::models {
namespace {

// The value that a head's dropout uses: the first of these keys that the config has.
double classifier_dropout(const Json& config, std::string_view where) {
  return get_number(config, "classifier_dropout", where, get_number(config, "hidden_dropout", where, 0.1));
}

Tensor last_rows(const nn::Step& step, const std::vector<int64_t>& rows, at::Device device) {
  std::vector<int64_t> picked = rows;
  if (picked.empty()) {
    for (int64_t b = 0; b < step.batch(); ++b) picked.push_back(step.starts[b + 1] - 1);
  }
  check(static_cast<int64_t>(picked.size()) == step.batch(), ErrorCode::invalid_argument,
        "one pooled row per sequence is needed: {} rows for {} sequences", picked.size(), step.batch());
  return at::tensor(at::ArrayRef<int64_t>(picked), at::kLong).to(device);
}

}  // namespace

int64_t label_count(const Json& config, std::string_view where) {
  const Json* names = find_member(config, "id2label");
  const int64_t named = names != nullptr && names->is_object() ? static_cast<int64_t>(names->size()) : 2;
  return get_int(config, "num_labels", where, {.min = 1, .max = 1 << 24}, named);
}

Head::Head(const Json& config, std::string_view where)
    : config_(config),
      where_(where),
      family_(&find_family(get_string(config, "model_type", where))),
      backbone_(family_->make(config, where)) {}

// --- backbone ------------------------------------------------------------------------------------------------------

Backbone::Backbone(const Json& config, std::string_view where) : Head(config, where) { add("", *backbone_); }

std::string Backbone::architecture() const { return family_->class_prefix + "Model"; }

// --- causal language model -----------------------------------------------------------------------------------------

CausalLm::CausalLm(const Json& config, std::string_view where)
    : Head(config, where),
      tied_(get_bool(config, "tie_word_embeddings", where, false)),
      lm_head_(backbone_->hidden_size(), backbone_->vocab_size()) {
  add("model", *backbone_);
  if (!tied_) add("lm_head", lm_head_);
}

Tensor CausalLm::hidden(const Tensor& ids, nn::Step& step) {
  const Tensor hidden = (*backbone_)(backbone_->embed(ids), step);
  return step.output_rows.empty() || step.narrowed ? hidden : hidden.index_select(0, step.output_index());
}

Tensor CausalLm::logits(const Tensor& hidden) {
  if (!tied_) return lm_head_(hidden);
  return ops::linear(hidden, nn::view(backbone_->input_embedding().weight), {});
}

const Tensor& CausalLm::output_weight() {
  const nn::Parameter& weight = tied_ ? backbone_->input_embedding().weight : lm_head_.weight;
  check(weight.defined() && !is_block_quantized(weight.dtype), ErrorCode::unsupported,
        "training needs dense weights; convert the checkpoint, or load it with a dtype");
  return weight.value;
}

Tensor CausalLm::forward(const Tensor& ids, nn::Step& step) { return logits(hidden(ids, step)); }

Tensor CausalLm::loss(const Tensor& logits, const Tensor& labels, const nn::Step& step) {
  check(labels.dim() == 1 && labels.size(0) == step.tokens(), ErrorCode::invalid_argument,
        "labels: one per token is needed");
  // Row t predicts label t + 1; the last row of a sequence predicts nothing.
  Tensor targets = at::full_like(labels, ops::kIgnoreIndex, at::kLong);
  for (int64_t b = 0; b < step.batch(); ++b) {
    const int64_t begin = step.starts[b], end = step.starts[b + 1];
    targets.slice(0, begin, end - 1).copy_(labels.slice(0, begin + 1, end));
  }
  return ops::cross_entropy(logits, targets);
}

std::string CausalLm::architecture() const { return family_->class_prefix + "ForCausalLM"; }

// --- sequence classification ---------------------------------------------------------------------------------------

SequenceClassifier::SequenceClassifier(const Json& config, std::string_view where)
    : Head(config, where), score_(backbone_->hidden_size(), label_count(config, where)) {
  add("model", *backbone_);
  add("score", score_);
}

Tensor SequenceClassifier::forward(const Tensor& embeddings, nn::Step& step, const std::vector<int64_t>& rows) {
  const Tensor hidden = (*backbone_)(embeddings, step);
  return score_(hidden.index_select(0, last_rows(step, rows, hidden.device())));  // [B, labels]
}

Tensor SequenceClassifier::loss(const Tensor& logits, const Tensor& labels) const {
  const int64_t count = logits.size(1);
  std::string problem = get_string(config_, "problem_type", where_, "");
  if (problem.empty()) {
    const bool whole = labels.scalar_type() == at::kLong || labels.scalar_type() == at::kInt;
    problem = count == 1 ? "regression" : whole ? "single_label_classification" : "multi_label_classification";
  }
  if (problem == "single_label_classification") {
    check(labels.numel() == logits.size(0), ErrorCode::invalid_argument,
          "single-label classification needs one label a sequence: {} labels for {} sequences", labels.numel(),
          logits.size(0));
    return ops::cross_entropy(logits, labels.reshape({-1}).to(at::kLong));
  }
  check(labels.numel() == logits.numel(), ErrorCode::invalid_argument,
        "{} needs {} numbers a sequence ([{}, {}]), got {} in all", problem, count, logits.size(0), count,
        labels.numel());
  const Tensor wanted = labels.reshape_as(logits).to(at::kFloat), got = logits.to(at::kFloat);
  if (problem == "regression") return at::mse_loss(got, wanted);
  check(problem == "multi_label_classification", ErrorCode::invalid_argument, "the problem_type \"{}\" is not known",
        problem);
  return at::binary_cross_entropy_with_logits(got, wanted);
}

std::string SequenceClassifier::architecture() const { return family_->class_prefix + "ForSequenceClassification"; }

// --- token classification ------------------------------------------------------------------------------------------

TokenClassifier::TokenClassifier(const Json& config, std::string_view where)
    : Head(config, where),
      score_(backbone_->hidden_size(), label_count(config, where),
             get_bool(config, "token_classification_bias", where, true)),
      dropout_(classifier_dropout(config, where)) {
  add("model", *backbone_);
  add("score", score_);
}

Tensor TokenClassifier::forward(const Tensor& embeddings, nn::Step& step) {
  return score_(at::dropout((*backbone_)(embeddings, step), dropout_, training()));
}

Tensor TokenClassifier::loss(const Tensor& logits, const Tensor& labels) {
  return ops::cross_entropy(logits, labels.to(at::kLong));
}

std::string TokenClassifier::architecture() const { return family_->class_prefix + "ForTokenClassification"; }

// --- question answering --------------------------------------------------------------------------------------------

QuestionAnswerer::QuestionAnswerer(const Json& config, std::string_view where)
    : Head(config, where), qa_outputs_(backbone_->hidden_size(), 2, /*bias=*/true) {
  add(family_->question_answering_prefix, *backbone_);
  add("qa_outputs", qa_outputs_);
}

Tensor QuestionAnswerer::forward(const Tensor& embeddings, nn::Step& step) {
  return qa_outputs_((*backbone_)(embeddings, step));
}

Tensor QuestionAnswerer::loss(const Tensor& logits, const Tensor& start, const Tensor& end, const nn::Step& step) {
  check(start.numel() == step.batch() && end.numel() == step.batch(), ErrorCode::invalid_argument,
        "one start and one end position per sequence are needed");
  // The positions of one edge over all sequences; out-of-range ones are left out of the mean.
  const auto edge_loss = [&](int64_t column, const Tensor& positions) {
    const Tensor flat = positions.reshape({-1}).to(at::kLong).cpu();
    std::vector<Tensor> losses;
    for (int64_t b = 0; b < step.batch(); ++b) {
      const int64_t begin = step.starts[b], length = step.starts[b + 1] - begin;
      const int64_t position = std::clamp<int64_t>(flat[b].item<int64_t>(), 0, length);
      if (position == length) continue;
      const Tensor row = logits.slice(0, begin, begin + length).select(1, column).to(at::kFloat);
      losses.push_back(at::logsumexp(row, 0) - row[position]);
    }
    if (losses.empty())
      return at::full({}, std::numeric_limits<float>::quiet_NaN(), logits.options().dtype(at::kFloat));
    return at::stack(losses).mean();
  };
  return (edge_loss(0, start) + edge_loss(1, end)) / 2;
}

std::string QuestionAnswerer::architecture() const { return family_->class_prefix + "ForQuestionAnswering"; }

}  // namespace caravan::models
