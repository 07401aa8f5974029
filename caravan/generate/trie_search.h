// Beam search over the token sequences of a trie: the fast path of generative recommending. What it knows and the
// engine's beam search (beam_search.cc, with a TrieConstraint) does not: sequences are a few tokens long and have no
// end token, so the head computes only the tokens of the level in question, a user's prompt runs once, its keys serve
// all beams where they lie (nn/tree_cache.h), and the beams of many users make one model call. Groups of users run side
// by side, a thread each; a single group runs on all threads.
//
//   TrieSearch search(*model, trie, {.beams = 50});
//   std::vector<std::vector<FoundPath>> found = search.run(queries);       // per query, best first
//   trie.items(found[0][0].node);
//
// A path's score is the sum of its tokens' log probabilities, which are normalized over the level's tokens, or, with
// `full_vocabulary`, over all tokens: then beams and scores are those of transformers' generate() with num_beams,
// prefix_allowed_tokens_fn and length_penalty 0. Equal scores are ordered by node. Results do not depend on the batch
// or on the number of threads, in fp32 to the last bit. Not thread-safe. Left out: sampling.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "caravan/generate/head_rows.h"
#include "caravan/items/trie.h"
#include "caravan/models/heads.h"
#include "caravan/nn/tree_cache.h"

namespace caravan::generate {

using at::Tensor;

struct TrieSearchOptions {
  int64_t beams = 50;
  bool full_vocabulary = false;
  int64_t batch_tokens = 1024;  // of the prompts that run together; a longer prompt runs alone
  bool panels = false;          // nn::make_panels: faster in fp32 on the CPU, for weights that do not change any more
  bool prefix = false;          // a prompt's tokens see one another in both directions
};

struct TrieQuery {
  std::vector<int32_t> prompt;       // at least one token
  std::vector<int32_t> banned = {};  // nodes that must not be entered, sorted
};

struct FoundPath {
  int32_t node = 0;  // one with items
  float score = 0;
  bool operator==(const FoundPath&) const = default;
};

class TrieSearch {
 public:
  TrieSearch(models::CausalLm& model, const items::Trie& trie, TrieSearchOptions options);  // both must outlive it
  // `prompt_states`, where given, receives the final hidden state after each prompt, [queries, C].
  std::vector<std::vector<FoundPath>> run(std::span<const TrieQuery> queries, Tensor* prompt_states = nullptr);
  std::vector<FoundPath> run(const TrieQuery& query);
  Tensor prompt_states(std::span<const TrieQuery> queries);  // those alone, without a search
  // Of the level's tokens (items::Trie::level_tokens) after these hidden states [R, C]: fp32 [R, tokens] on the CPU.
  Tensor log_probabilities(const Tensor& hidden, int64_t level) const;

 private:
  class Group;
  struct User;
  std::vector<std::span<const TrieQuery>> split(std::span<const TrieQuery> queries) const;
  at::Device device() const;
  // Calls f(group, index) for all groups, beside one another where there are many.
  template <class F>
  void for_each_group(std::span<const TrieQuery> queries, const F& f) const;
  int64_t least_rows() const;
  void select(User& user, const Tensor& log_p, int64_t first_row, int64_t level) const;
  void check_query(const TrieQuery& query) const;

  models::CausalLm* model_;
  const items::Trie* trie_;
  TrieSearchOptions options_;
  std::vector<HeadRows> heads_;    // [level]
  bool rows_stand_alone_ = false;  // every product is one whose rows do not depend on their number
};

}  // namespace caravan::generate
