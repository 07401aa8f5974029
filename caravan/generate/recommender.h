// From a user's history to the items that follow: a causal language model whose words are item codes, the items' codes
// and a beam search over their trie (TIGER, Rajput et al. 2023; LC-Rec, Zheng et al. 2024). Only real items come out.
//
//   ItemModel model = load_item_model("beauty-model");                 // checkpoint with items.jsonl and codes.json
//   Recommender recommender(model, {.beams = 50});
//   std::vector<int32_t> history = {items::ItemLookup(model.items).resolve("B004756YJA")};
//   for (const Recommendation& r : recommender.recommend(history, 10)) show(model.items.catalogue[r.item], r.score);
//
// A model that also learned the items themselves (train/codes_and_items.cc) orders what the beams found by both scores:
//   (1 - weight) log p(codes | history) + weight log p(item | history)
// where the second comes from one row of the head a user, whatever the number of beams.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/generate/trie_search.h"
#include "caravan/items/lookup.h"
#include "caravan/items/prompt.h"
#include "caravan/items/trie.h"
#include "caravan/models/heads.h"
#include "caravan/models/load.h"

namespace caravan::generate {

// A recommender's checkpoint.
struct ItemModel {
  std::unique_ptr<models::CausalLm> lm;
  items::ItemSet items;
  std::vector<std::vector<int32_t>> tokens;  // [N] each item's
  items::PromptFormat prompt;
};

// Throws not_found for a checkpoint without items, and says what makes one. Without a dtype in the options, weights
// run from the checkpoint's own numbers (LoadOptions::keep_blocks).
ItemModel load_item_model(const std::string& folder, const models::LoadOptions& options = {});

struct RecommenderOptions {
  int64_t beams = 50;
  bool full_vocabulary = false;            // normalize scores over the whole vocabulary (TrieSearchOptions)
  int64_t batch_tokens = 1024;             // of prompts that run together; no influence on results
  bool panels = false;                     // see TrieSearchOptions; an ItemModel always has them
  std::optional<double> item_weight = {};  // of the items' own scores; none: the checkpoint's
};

struct RecommendRequest {
  std::span<const int32_t> history;  // items, oldest first
  std::span<const int32_t> exclude;  // items that must not come out, usually the history; may repeat itself
  std::string_view user = {};        // id, for models with tokens of users
};

struct Recommendation {
  int32_t item = 0;
  // Log probability of the item's codes: items of one tuple share it, most popular first. With the items' own scores
  // the weighted sum above.
  float score = 0;
};

class Recommender {
 public:
  explicit Recommender(ItemModel& model, const RecommenderOptions& options = {});  // the model must outlive it
  // The same from its parts, for a model in training. `popularity` [N]: the order of items with equal codes. The model
  // and the tokens must outlive it; it takes a copy of the head's rows, so new weights need a new one.
  Recommender(models::CausalLm& lm, std::span<const std::vector<int32_t>> tokens, const items::PromptFormat& prompt,
              const std::vector<int64_t>& popularity, const RecommenderOptions& options);

  // Up to `count` items a request, best first: fewer where the beams found fewer (raise `beams`).
  std::vector<std::vector<Recommendation>> recommend(std::span<const RecommendRequest> requests, int64_t count);
  // What follows this history and is not in it.
  std::vector<Recommendation> recommend(std::span<const int32_t> history, int64_t count);

  const items::Trie& trie() const { return trie_; }

 private:
  std::vector<Recommendation> items_of(std::span<const FoundPath> paths, std::span<const int32_t> exclude,
                                       int64_t count) const;
  // The same, ordered with the items' own log probabilities [N].
  std::vector<Recommendation> items_of(std::span<const FoundPath> paths, std::span<const int32_t> exclude,
                                       int64_t count, std::span<const float> own) const;
  // Of all items, ordered by these log probabilities [N].
  std::vector<Recommendation> best_items(std::span<const float> scores, std::span<const int32_t> exclude,
                                         int64_t count) const;
  void prepare_scores_at_once();
  void prepare_item_head(models::CausalLm& lm, const std::optional<double>& weight);
  Tensor item_log_probabilities(const Tensor& states) const;
  std::span<const std::vector<int32_t>> tokens_;  // [N]
  items::PromptFormat prompt_;
  items::Trie trie_;
  TrieSearch search_;
  double item_weight_ = 0;  // 0: codes alone
  HeadRows item_head_;      // [N] where the weight is not 0
  // Where the model says all codes of an item at once (RPG, Hou et al. 2025, arXiv 2506.05781): each item's column
  // among the tokens of every level, [level] int64 [N], and all items in the order in which equal scores leave them.
  std::vector<Tensor> columns_;
  std::vector<int32_t> order_;
};

// Nodes below which every item is one of `items`: a search that must not find these need not enter. Sorted.
std::vector<int32_t> covered_nodes(const items::Trie& trie, std::span<const int32_t> items);

}  // namespace caravan::generate
