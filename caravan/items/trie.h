// Trie of the token sequences of all items: which tokens may follow, and which items a sequence means. Nodes are
// numbered breadth first, so a node's children are one run of numbers: rows of a compressed (CSR) table, as in STATIC
// (arXiv 2602.22647), with a dense table in front for the first level. Look-ups allocate nothing.
//
//   Trie trie(item_tokens(codes, find), counts);
//   int32_t node = Trie::kRoot;
//   for (int32_t t : trie.next_tokens(node)) ...           // sorted, the children's tokens
//   node = trie.child(node, token);                        // kNone where the token may not follow
//   for (int32_t item : trie.items(node)) ...              // most popular first; empty: not (yet) an item
//
// A sequence may begin like another and several items may share one. Immutable and thread-safe once built.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace caravan::items {

class Trie {
 public:
  static constexpr int32_t kRoot = 0, kNone = -1;
  struct Range {  // of nodes
    int32_t begin = 0, end = 0;
    int32_t size() const { return end - begin; }
  };

  Trie() = default;
  // Sequence i is item i's tokens (not negative; an item with none is never found). Items of one sequence are ordered
  // by falling popularity, then by number; without `popularity` by number.
  explicit Trie(std::span<const std::vector<int32_t>> sequences, std::span<const int64_t> popularity = {});

  int64_t nodes() const { return std::ssize(tokens_); }
  int64_t item_count() const { return std::ssize(node_of_item_); }
  int64_t depth() const { return std::ssize(level_tokens_); }  // of the longest sequence
  bool same_depth() const { return same_depth_; }              // items sit at the last level only

  // Children of a node; child c is reached by token(c).
  Range children(int32_t node) const { return {first_child_[node], first_child_[node + 1]}; }
  int32_t token(int32_t node) const { return tokens_[node]; }  // kNone for the root
  std::span<const int32_t> next_tokens(int32_t node) const;
  int32_t child(int32_t node, int32_t token) const;       // kNone: not there
  int32_t find(std::span<const int32_t> sequence) const;  // from the root; kNone: not there

  std::span<const int32_t> items(int32_t node) const;
  int32_t node_of(int64_t item) const { return node_of_item_[item]; }
  int32_t parent(int32_t node) const { return parents_[node]; }  // kNone for the root

  // Distinct tokens at a depth (0: the first token of a sequence), sorted, and a node's place among those of its depth:
  // a head that computes only level_tokens(d) has node n's score in column column(n).
  std::span<const int32_t> level_tokens(int64_t depth) const { return level_tokens_[depth]; }
  int32_t column(int32_t node) const { return columns_[node]; }

 private:
  void add_level(std::span<const std::vector<int32_t>> sequences, std::span<const int32_t> sorted, int64_t depth);
  void set_items(std::span<const int32_t> order);

  std::vector<int32_t> tokens_, parents_, columns_;  // [nodes]
  std::vector<int32_t> first_child_, first_item_;    // [nodes + 1]
  std::vector<int32_t> items_;                       // by node
  std::vector<int32_t> node_of_item_;                // [N]
  std::vector<int32_t> dense_;                       // token -> child of the root
  std::vector<std::vector<int32_t>> level_tokens_;   // [depth]
  bool same_depth_ = true;
};

}  // namespace caravan::items
