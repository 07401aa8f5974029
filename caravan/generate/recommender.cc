#include "caravan/generate/recommender.h"

#include <torch/torch.h>

#include <algorithm>
#include <map>

#include "caravan/base/error.h"
#include "caravan/generate/tokenizer_loading.h"

namespace caravan::generate {

ItemModel load_item_model(const std::string& folder, const models::LoadOptions& options) {
  check(items::has_item_set(folder), ErrorCode::not_found,
        "{}: no recommender's checkpoint: it must hold {} and {} (training copies them from the data set that `caravan "
        "items` made)",
        folder, items::kItemsFile, items::kCodesFile);
  const auto checkpoint = formats::Checkpoint::open(folder);
  ItemModel model{.lm = models::load_causal_lm(*checkpoint, options), .items = items::read_item_set(folder)};
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

std::vector<int64_t> popularity(const items::Catalogue& catalogue) {
  std::vector<int64_t> counts;
  for (const items::Item& item : catalogue) counts.push_back(item.count);
  return counts;
}

RecommenderOptions packed(RecommenderOptions options) {
  options.pack_weights = true;
  return options;
}

}  // namespace

Recommender::Recommender(ItemModel& model, const RecommenderOptions& options)
    : Recommender(*model.lm, model.tokens, model.prompt, popularity(model.items.catalogue), packed(options)) {}

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
               .pack_weights = options.pack_weights}) {}

std::vector<Recommendation> Recommender::items_of(std::span<const FoundPath> paths, std::span<const int32_t> exclude,
                                                  int64_t count) const {
  std::vector<int32_t> excluded(exclude.begin(), exclude.end());
  std::sort(excluded.begin(), excluded.end());
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
  std::vector<TrieQuery> queries;
  for (const RecommendRequest& request : requests) {
    queries.push_back({.prompt = items::make_prompt(request.history, tokens_, prompt_),
                       .banned = covered_nodes(trie_, request.exclude)});
  }
  const auto found = search_.run(queries);
  std::vector<std::vector<Recommendation>> out;
  for (size_t i = 0; i < requests.size(); ++i) out.push_back(items_of(found[i], requests[i].exclude, count));
  return out;
}

std::vector<Recommendation> Recommender::recommend(std::span<const int32_t> history, int64_t count) {
  const RecommendRequest request{.history = history, .exclude = history};
  return std::move(recommend(std::span(&request, 1), count)[0]);
}

}  // namespace caravan::generate
