#include "caravan/generate/recommender.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/generate/tokenizer_loading.h"
#include "caravan/ops/threads.h"

namespace caravan::generate {

ItemModel load_item_model(const std::string& folder, const models::LoadOptions& options) {
  if (!is_folder(folder)) formats::Checkpoint::open(folder);  // says what is there instead, or that nothing is
  check(items::has_item_set(folder), ErrorCode::not_found,
        "{}: no recommender's checkpoint: it must hold {} and {} (training copies them from the data set that `caravan "
        "items` made){}",
        folder, items::kItemsFile, items::kCodesFile,
        items::has_item_set(folder + "/final") ? fmt::format("; did you mean {}/final?", folder) : "");
  const auto checkpoint = formats::Checkpoint::open(folder);
  models::LoadOptions load = options;
  load.keep_blocks = true;
  ItemModel model{.lm = models::load_causal_lm(*checkpoint, load), .items = items::read_item_set(folder)};
  const auto tokenizer = load_tokenizer(*checkpoint);
  check(tokenizer.has_value(), ErrorCode::not_found, "{}: no tokenizer.json, which says the item codes' tokens",
        folder);
  model.tokens =
      items::item_tokens(model.items.codes, [&](std::string_view word) { return tokenizer->token_to_id(word); });
  model.prompt = items::read_prompt_format(model.lm->config(), folder + "/config.json");
  return model;
}

std::vector<int32_t> covered_nodes(const items::Trie& trie, std::span<const int32_t> items) {
  std::map<int32_t, int64_t, std::greater<>> inside;  // node -> parts (items and children) that are covered
  std::vector<int32_t> distinct(items.begin(), items.end()), covered;
  std::sort(distinct.begin(), distinct.end());
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  for (int32_t item : distinct) {
    check(item >= 0 && item < trie.item_count(), ErrorCode::invalid_argument, "item {} of {} does not exist", item,
          trie.item_count());
    if (const int32_t node = trie.node_of(item); node != items::Trie::kNone) ++inside[node];
  }
  // Children have larger numbers than their parents: from the largest down, every child comes before its parent.
  for (auto it = inside.begin(); it != inside.end(); ++it) {
    const auto [node, parts] = *it;
    if (parts < std::ssize(trie.items(node)) + trie.children(node).size()) continue;
    covered.push_back(node);
    if (node != items::Trie::kRoot) ++inside[trie.parent(node)];
  }
  std::sort(covered.begin(), covered.end());
  return covered;
}

namespace {

// Users whose scores of all items are computed together. Always as many: a product of fewer rows sums in another order.
constexpr size_t kItemRows = 32;

std::vector<int64_t> popularity(const items::Catalogue& catalogue) {
  std::vector<int64_t> counts;
  for (const items::Item& item : catalogue) counts.push_back(item.count);
  return counts;
}

// By nodes, level by level, and at a node the most popular item first: how a search orders equal scores.
std::vector<int32_t> items_in_order(const items::Trie& trie) {
  std::vector<int32_t> order, nodes = {items::Trie::kRoot};
  for (size_t i = 0; i < nodes.size(); ++i) {
    const auto items = trie.items(nodes[i]);
    order.insert(order.end(), items.begin(), items.end());
    const items::Trie::Range children = trie.children(nodes[i]);
    for (int32_t node = children.begin; node < children.end; ++node) nodes.push_back(node);
  }
  return order;
}

std::vector<int32_t> sorted(std::span<const int32_t> items) {
  std::vector<int32_t> copy(items.begin(), items.end());
  std::sort(copy.begin(), copy.end());
  return copy;
}

RecommenderOptions with_panels(RecommenderOptions options) {
  options.panels = true;
  return options;
}

}  // namespace

Recommender::Recommender(ItemModel& model, const RecommenderOptions& options)
    : Recommender(*model.lm, model.tokens, model.prompt, popularity(model.items.catalogue), with_panels(options)) {}

Recommender::Recommender(models::CausalLm& lm, std::span<const std::vector<int32_t>> tokens,
                         const items::PromptFormat& prompt, const std::vector<int64_t>& popularity,
                         const RecommenderOptions& options)
    : tokens_(tokens),
      prompt_(prompt),
      trie_(tokens, popularity),
      search_(lm, trie_,
              {.beams = options.beams,
               .full_vocabulary = options.full_vocabulary,
               .batch_tokens = options.batch_tokens,
               .panels = options.panels,
               .prefix = prompt.prefix}) {
  prepare_item_head(lm, options.item_weight);
  if (!prompt.parallel) return;
  check(!options.full_vocabulary, ErrorCode::invalid_argument,
        "the model says all codes of an item at once, each among those of its level: it has no scores over the whole "
        "vocabulary");
  prepare_scores_at_once();
}

void Recommender::prepare_scores_at_once() {
  const int64_t depth = trie_.depth(), count = trie_.item_count();
  std::vector<std::vector<int64_t>> columns(static_cast<size_t>(depth));
  for (int64_t item = 0; item < count; ++item) {
    int32_t node = trie_.node_of(item);
    check(trie_.same_depth() && node != items::Trie::kNone, ErrorCode::invalid_argument,
          "codes that are said at once must be as many for every item");
    for (int64_t level = depth; level-- > 0; node = trie_.parent(node))
      columns[static_cast<size_t>(level)].push_back(trie_.column(node));
  }
  for (const auto& level : columns) columns_.push_back(at::tensor(at::ArrayRef<int64_t>(level), at::kLong));
  order_ = items_in_order(trie_);
}

void Recommender::prepare_item_head(models::CausalLm& lm, const std::optional<double>& weight) {
  if (!prompt_.items) {
    check(!weight || *weight == 0, ErrorCode::invalid_argument,
          "the model has codes only, no scores of the items themselves: it was not trained with data.item_tokens");
    return;
  }
  item_weight_ = weight.value_or(prompt_.items->weight);
  check(item_weight_ >= 0 && item_weight_ <= 1, ErrorCode::invalid_argument,
        "the weight of the items' own scores lies in [0, 1], got {}", item_weight_);
  const items::TokenRun& run = prompt_.items->run;
  check(run.count == trie_.item_count(), ErrorCode::invalid_argument,
        "the model has tokens of {} items, there are {}: they belong to another model", run.count, trie_.item_count());
  if (item_weight_ > 0) item_head_ = HeadRows(lm, at::arange(run.first, run.first + run.count));
}

// states [Q, C], at most kItemRows -> [kItemRows, N]
Tensor Recommender::item_log_probabilities(const Tensor& states) const {
  const torch::InferenceMode guard;
  const int64_t missing = static_cast<int64_t>(kItemRows) - states.size(0);
  const Tensor rows = at::constant_pad_nd(states, {0, 0, 0, missing});
  if (!columns_.empty()) {
    Tensor sum = at::zeros({rows.size(0), std::ssize(order_)}, at::kFloat);
    for (size_t level = 0; level < columns_.size(); ++level)
      sum += search_.log_probabilities(rows, static_cast<int64_t>(level)).index_select(1, columns_[level]);
    return sum;
  }
  return at::log_softmax(item_head_.logits(rows).to(at::kFloat), -1).to(at::kCPU).contiguous();
}

std::vector<Recommendation> Recommender::items_of(std::span<const FoundPath> paths, std::span<const int32_t> exclude,
                                                  int64_t count, std::span<const float> own) const {
  std::vector<Recommendation> all = items_of(paths, exclude, std::numeric_limits<int64_t>::max());
  const auto weight = static_cast<float>(item_weight_);
  for (Recommendation& r : all) r.score = (1 - weight) * r.score + weight * own[static_cast<size_t>(r.item)];
  std::stable_sort(all.begin(), all.end(),
                   [](const Recommendation& a, const Recommendation& b) { return a.score > b.score; });
  if (std::ssize(all) > count) all.resize(static_cast<size_t>(count));
  return all;
}

std::vector<Recommendation> Recommender::items_of(std::span<const FoundPath> paths, std::span<const int32_t> exclude,
                                                  int64_t count) const {
  const std::vector<int32_t> excluded = sorted(exclude);
  std::vector<Recommendation> out;
  for (const FoundPath& path : paths) {
    for (int32_t item : trie_.items(path.node)) {
      if (std::ssize(out) == count) return out;
      if (!std::binary_search(excluded.begin(), excluded.end(), item)) out.push_back({item, path.score});
    }
  }
  return out;
}

std::vector<std::vector<Recommendation>> Recommender::recommend(std::span<const RecommendRequest> requests,
                                                                int64_t count) {
  check(count >= 0, ErrorCode::invalid_argument, "{} items cannot be recommended", count);
  const bool at_once = !columns_.empty();
  std::vector<TrieQuery> queries;
  for (const RecommendRequest& request : requests) {
    queries.push_back({.prompt = items::make_prompt(request.history, tokens_, prompt_, request.user)});
    if (!at_once) queries.back().banned = covered_nodes(trie_, request.exclude);
  }
  Tensor states;
  std::vector<std::vector<FoundPath>> found;
  if (at_once) {
    states = search_.prompt_states(queries);
  } else {
    found = search_.run(queries, item_head_.defined() ? &states : nullptr);
  }
  std::vector<std::vector<Recommendation>> out(requests.size());
  for (size_t begin = 0; begin < requests.size(); begin += kItemRows) {
    const size_t end = std::min(begin + kItemRows, requests.size());
    Tensor own;
    if (states.defined())
      own = item_log_probabilities(states.slice(0, static_cast<int64_t>(begin), static_cast<int64_t>(end)));
    ops::parallel_pieces(static_cast<int64_t>(end - begin), 1, [&](int64_t first, int64_t last) {
      for (int64_t row = first; row < last; ++row) {
        const size_t i = begin + static_cast<size_t>(row);
        std::span<const float> scores;
        if (own.defined()) scores = {own.const_data_ptr<float>() + row * own.size(1), static_cast<size_t>(own.size(1))};
        check_scores_are_numbers(std::ranges::none_of(scores, [](float score) { return std::isnan(score); }));
        out[i] = at_once          ? best_items(scores, requests[i].exclude, count)
                 : scores.empty() ? items_of(found[i], requests[i].exclude, count)
                                  : items_of(found[i], requests[i].exclude, count, scores);
      }
    });
  }
  return out;
}

std::vector<Recommendation> Recommender::best_items(std::span<const float> scores, std::span<const int32_t> exclude,
                                                    int64_t count) const {
  const std::vector<int32_t> excluded = sorted(exclude);
  std::vector<int32_t> ranks;  // in order_
  for (int32_t rank = 0; rank < std::ssize(order_); ++rank) {
    if (!std::binary_search(excluded.begin(), excluded.end(), order_[static_cast<size_t>(rank)])) ranks.push_back(rank);
  }
  const auto score = [&](int32_t rank) { return scores[static_cast<size_t>(order_[static_cast<size_t>(rank)])]; };
  const auto kept = std::min<int64_t>(count, std::ssize(ranks));
  std::partial_sort(ranks.begin(), ranks.begin() + kept, ranks.end(),
                    [&](int32_t a, int32_t b) { return score(a) != score(b) ? score(a) > score(b) : a < b; });
  std::vector<Recommendation> best;
  for (int64_t i = 0; i < kept; ++i) {
    const int32_t rank = ranks[static_cast<size_t>(i)];
    best.push_back({order_[static_cast<size_t>(rank)], score(rank)});
  }
  return best;
}

std::vector<Recommendation> Recommender::recommend(std::span<const int32_t> history, int64_t count) {
  const RecommendRequest request{.history = history, .exclude = history};
  return std::move(recommend(std::span(&request, 1), count)[0]);
}

}  // namespace caravan::generate
