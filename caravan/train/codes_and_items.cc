// Codes and items learned by one backbone (LIGER, Yang et al. 2024, arXiv 2411.18814; COBRA, Yang et al. 2025, arXiv
// 2503.02453): the sum of
//   -log p(code | history, the item's codes before it)     over the codes of its level only, and
//   -log p(item | history) * item_weight                   over the items' own tokens, all or a sample of them.
// The objective item_codes is the first of them alone: a head a level instead of one over the whole vocabulary, with or
// without tokens of the items. parallel_codes is a head a level as well, but all of an item's codes are said at once,
// by the row before it (RPG, Hou et al. 2025, arXiv 2506.05781; left out: its inputs pooled per item). A history reads
// [bos] a b c <item:7> a b c <item:3> (items/prompt.h): the row before an item's codes is where both its first code and
// the item itself are predicted. The sampled softmax draws its items evenly, the same ones for a whole batch, and
// counts each with N / n, so that its normalizer is right on average (Bengio & Senecal 2008). Left out: negatives by
// popularity.
#include <torch/torch.h>

#include "caravan/base/error.h"
#include "caravan/items/prompt.h"
#include "caravan/ops/gemm.h"
#include "caravan/ops/linear_cross_entropy.h"
#include "caravan/train/objective.h"

namespace caravan::train {
namespace {

enum class Kind { item_codes, codes_and_items, parallel_codes };

struct Setting {
  models::CausalLm* lm;
  items::PromptFormat format;
};

Setting setting_of(models::Head& model) {
  auto* lm = dynamic_cast<models::CausalLm*>(&model);
  check(lm != nullptr, ErrorCode::invalid_argument,
        "the objectives of item codes need a causal language model, this is {}", model.kind());
  Setting setting{.lm = lm, .format = items::read_prompt_format(lm->config(), "the model's config")};
  check(
      !setting.format.levels.empty(), ErrorCode::invalid_argument,
      "the objectives of item codes need a recommendation data set (data.kind = \"items\") and, in every level, codes "
      "whose ids are one run");
  return setting;
}

// Rows of the hidden states and what each predicts, counted from the start of its run of tokens.
struct Rows {
  std::vector<int64_t> rows, targets;
  void add(int64_t row, int64_t target) { rows.push_back(row), targets.push_back(target); }
};

struct Targets {
  std::vector<Rows> levels;
  Rows items;
};

// The row before an item predicts all of its codes, where its first one is a target.
std::vector<Rows> parallel_targets_of(const Batch& batch, const items::PromptFormat& format) {
  std::vector<Rows> levels(format.levels.size());
  const auto* ids = batch.ids.const_data_ptr<int64_t>();
  const auto* next = batch.targets.const_data_ptr<int64_t>();
  int64_t row = 0;
  for (const int64_t length : batch.lengths) {
    for (const int64_t end = row + length; row < end; ++row) {
      if (!format.levels[0].holds(next[row])) continue;
      for (size_t level = 0; level < levels.size(); ++level) {
        const int64_t at = row + 1 + static_cast<int64_t>(level);
        if (at >= end || !format.levels[level].holds(ids[at])) break;
        levels[level].add(row, ids[at] - format.levels[level].first);
      }
    }
  }
  return levels;
}

// An item is a target where its first code is one: the row after which it begins says both.
Targets targets_of(const Batch& batch, const items::PromptFormat& format) {
  Targets all{.levels = std::vector<Rows>(format.levels.size()), .items = {}};
  const auto* ids = batch.ids.const_data_ptr<int64_t>();
  const auto* next = batch.targets.const_data_ptr<int64_t>();
  int64_t row = 0;
  for (const int64_t length : batch.lengths) {
    int64_t before = -1;  // the row that predicts the item which is being read; -1: none does
    for (const int64_t end = row + length; row < end; ++row) {
      if (format.items && format.items->run.holds(ids[row])) {
        if (before >= 0 && next[before] != ops::kIgnoreIndex) all.items.add(before, ids[row] - format.items->run.first);
        before = row;
      } else if (format.bos == ids[row] || (format.users && format.users->holds(ids[row]))) {
        before = row;
      }
      for (size_t level = 0; level < format.levels.size(); ++level) {
        if (format.levels[level].holds(next[row])) all.levels[level].add(row, next[row] - format.levels[level].first);
      }
    }
  }
  return all;
}

Targets targets_of(const Batch& batch, const items::PromptFormat& format, Kind kind) {
  if (kind == Kind::parallel_codes) return {.levels = parallel_targets_of(batch, format), .items = {}};
  return targets_of(batch, format);
}

Tensor tensor_of(const std::vector<int64_t>& values, at::Device device) {
  return at::tensor(at::ArrayRef<int64_t>(values), at::kLong).to(device);
}

// Every run's rows of the head, the items' last. One split, so that the backward pass puts their gradients together
// once.
std::vector<Tensor> heads(const Tensor& weight, const items::PromptFormat& format) {
  std::vector<int64_t> sizes;
  std::vector<size_t> wanted;
  int64_t at = 0;
  const auto take = [&](const items::TokenRun& run) {
    check(run.first >= at && run.first + run.count <= weight.size(0), ErrorCode::invalid_argument,
          "codes_and_items: the levels' tokens and the items' must follow one another in the vocabulary");
    if (run.first > at) sizes.push_back(run.first - at);
    wanted.push_back(sizes.size());
    sizes.push_back(run.count);
    at = run.first + run.count;
  };
  for (const items::TokenRun& level : format.levels) take(level);
  if (format.items) take(format.items->run);
  if (at < weight.size(0)) sizes.push_back(weight.size(0) - at);
  const std::vector<Tensor> pieces = weight.split_with_sizes(sizes);
  std::vector<Tensor> found;
  for (const size_t piece : wanted) found.push_back(pieces[piece]);
  return found;
}

// Sum of -log softmax over the targets and `count` random items, each of which stands for N / count.
Tensor sampled_loss(const Tensor& hidden, const Tensor& weight, const Tensor& targets, int64_t count) {
  const int64_t items = weight.size(0);
  const Tensor drawn = at::randint(items, {count}, at::TensorOptions().dtype(at::kLong)).to(weight.device());
  const Tensor right = (hidden * weight.index_select(0, targets)).sum(-1).to(at::kFloat);   // [R]
  Tensor others = ops::dense_linear(hidden, weight.index_select(0, drawn)).to(at::kFloat);  // [R, count]
  others = others + std::log(static_cast<double>(items) / static_cast<double>(count));
  others = others.masked_fill(targets.unsqueeze(1).eq(drawn), -std::numeric_limits<double>::infinity());
  return (at::logsumexp(at::cat({right.unsqueeze(1), others}, 1), 1) - right).sum();
}

void check_model(models::Head& head, Kind kind) {
  const Setting s = setting_of(head);
  check(kind != Kind::codes_and_items || s.format.items.has_value(), ErrorCode::invalid_argument,
        "the objective codes_and_items needs items with tokens of their own: data.item_tokens = true");
  heads(s.lm->output_weight(), s.format);
}

template <Kind kKind>
Tensor loss(models::Head& head, const Batch& batch, const ObjectiveOptions& options) {
  check_model(head, kKind);
  const Setting s = setting_of(head);
  const at::Device device = s.lm->backbone().input_embedding().weight.value.device();
  nn::Step step = step_of(batch, device);
  const Tensor hidden = s.lm->hidden(batch.ids.to(device), step);  // [T, C]
  const Targets targets = targets_of(batch, s.format, kKind);
  const std::vector<Tensor> rows = heads(s.lm->output_weight(), s.format);
  Tensor sum = hidden.slice(0, 0, 0).sum().to(at::kFloat);  // 0, and something to differentiate
  for (size_t level = 0; level < targets.levels.size(); ++level) {
    const Rows& r = targets.levels[level];
    if (r.rows.empty()) continue;
    sum = sum + ops::linear_cross_entropy(hidden.index_select(0, tensor_of(r.rows, device)), rows[level],
                                          tensor_of(r.targets, device), options.label_smoothing);
  }
  const Rows& r = targets.items;
  if (kKind != Kind::codes_and_items || r.rows.empty() || options.item_weight == 0) return sum;
  const Tensor at_items = hidden.index_select(0, tensor_of(r.rows, device)), wanted = tensor_of(r.targets, device);
  const bool sampled = options.sampled_items > 0 && options.sampled_items < rows.back().size(0);
  const Tensor items = sampled ? sampled_loss(at_items, rows.back(), wanted, options.sampled_items)
                               : ops::linear_cross_entropy(at_items, rows.back(), wanted, options.label_smoothing);
  return sum + items * options.item_weight;
}

// The codes alone, so that the loss is the mean of -log p(code): the items are measured by ranking them.
template <Kind kKind>
void measure(models::Head& head, const Batch& batch, Measurement& sums) {
  const Setting s = setting_of(head);
  const at::Device device = s.lm->backbone().input_embedding().weight.value.device();
  nn::Step step = step_of(batch, device);
  const Tensor hidden = s.lm->hidden(batch.ids.to(device), step);
  const Targets targets = targets_of(batch, s.format, kKind);
  const std::vector<Tensor> rows = heads(s.lm->output_weight(), s.format);
  for (size_t level = 0; level < targets.levels.size(); ++level) {
    const Rows& r = targets.levels[level];
    if (r.rows.empty()) continue;
    const Tensor logits =
        ops::dense_linear(hidden.index_select(0, tensor_of(r.rows, device)), rows[level]).to(at::kFloat);
    const Tensor wanted = tensor_of(r.targets, device);
    sums.loss += at::cross_entropy_loss(logits, wanted, {}, at::Reduction::Sum).item<double>();
    sums.correct += logits.argmax(-1).eq(wanted).sum().item<int64_t>();
    sums.targets += std::ssize(r.rows);
  }
}

template <Kind kKind>
Objective objective(const char* name) {
  return {.name = name, .loss = loss<kKind>, .measure = measure<kKind>, .check = [](models::Head& model) {
            check_model(model, kKind);
          }};
}

}  // namespace

Objective objective_codes_and_items() { return objective<Kind::codes_and_items>("codes_and_items"); }
Objective objective_item_codes() { return objective<Kind::item_codes>("item_codes"); }
Objective objective_parallel_codes() { return objective<Kind::parallel_codes>("parallel_codes"); }

}  // namespace caravan::train
