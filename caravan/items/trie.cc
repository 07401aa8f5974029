#include "caravan/items/trie.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "caravan/base/error.h"

namespace caravan::items {
namespace {

// Items by their sequences; equal sequences by falling popularity, then by number.
std::vector<int32_t> sorted_items(std::span<const std::vector<int32_t>> sequences,
                                  std::span<const int64_t> popularity) {
  std::vector<int32_t> order;
  for (size_t i = 0; i < sequences.size(); ++i) {
    if (!sequences[i].empty()) order.push_back(static_cast<int32_t>(i));
  }
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    const auto by_tokens = sequences[a] <=> sequences[b];
    if (by_tokens != 0) return by_tokens < 0;
    return !popularity.empty() && popularity[a] > popularity[b];
  });
  return order;
}

}  // namespace

Trie::Trie(std::span<const std::vector<int32_t>> sequences, std::span<const int64_t> popularity) {
  check(sequences.size() < std::numeric_limits<int32_t>::max() / 2, ErrorCode::invalid_argument,
        "{} sequences are too many for a trie", sequences.size());
  check(popularity.empty() || popularity.size() == sequences.size(), ErrorCode::invalid_argument,
        "{} popularity counts for {} sequences", popularity.size(), sequences.size());
  size_t depth = 0;
  for (const auto& sequence : sequences) {
    depth = std::max(depth, sequence.size());
    for (int32_t token : sequence) {
      check(token >= 0, ErrorCode::invalid_argument, "a trie's tokens must not be negative, got {}", token);
    }
  }
  const std::vector<int32_t> order = sorted_items(sequences, popularity);
  node_of_item_.assign(sequences.size(), kNone);
  for (int32_t item : order) node_of_item_[item] = kRoot;
  tokens_ = {kNone}, parents_ = {kNone}, columns_ = {kNone}, first_child_ = {1};
  for (size_t d = 0; d < depth; ++d) add_level(sequences, order, static_cast<int64_t>(d));
  first_child_.resize(tokens_.size() + 1, static_cast<int32_t>(tokens_.size()));
  set_items(order);
  for (int32_t item : order) same_depth_ = same_depth_ && sequences[item].size() == depth;
  if (depth == 0) return;
  dense_.assign(level_tokens_[0].back() + 1, kNone);
  for (int32_t node = children(kRoot).begin; node < children(kRoot).end; ++node) dense_[tokens_[node]] = node;
}

// The nodes below those of the last level: items in sorted order meet their nodes in sorted order.
void Trie::add_level(std::span<const std::vector<int32_t>> sequences, std::span<const int32_t> sorted, int64_t depth) {
  const size_t first = tokens_.size();
  for (int32_t item : sorted) {
    if (std::ssize(sequences[item]) <= depth) continue;
    const int32_t parent = node_of_item_[item], token = sequences[item][depth];
    if (tokens_.size() == first || parents_.back() != parent || tokens_.back() != token) {
      check(tokens_.size() < static_cast<size_t>(std::numeric_limits<int32_t>::max()), ErrorCode::invalid_argument,
            "the sequences make more nodes than a trie can number");
      // Nodes up to this parent end their (empty) rows here.
      first_child_.resize(static_cast<size_t>(parent) + 1, static_cast<int32_t>(tokens_.size()));
      tokens_.push_back(token);
      parents_.push_back(parent);
    }
    node_of_item_[item] = static_cast<int32_t>(tokens_.size()) - 1;
  }
  std::vector<int32_t>& distinct =
      level_tokens_.emplace_back(tokens_.begin() + static_cast<int64_t>(first), tokens_.end());
  std::sort(distinct.begin(), distinct.end());
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  for (size_t node = first; node < tokens_.size(); ++node) {
    const auto place = std::lower_bound(distinct.begin(), distinct.end(), tokens_[node]);
    columns_.push_back(static_cast<int32_t>(place - distinct.begin()));
  }
}

void Trie::set_items(std::span<const int32_t> order) {
  first_item_.assign(tokens_.size() + 1, 0);
  for (int32_t item : order) ++first_item_[node_of_item_[item] + 1];
  std::partial_sum(first_item_.begin(), first_item_.end(), first_item_.begin());
  items_.resize(order.size());
  std::vector<int32_t> at(first_item_.begin(), first_item_.end() - 1);
  for (int32_t item : order) items_[at[node_of_item_[item]]++] = item;
}

std::span<const int32_t> Trie::next_tokens(int32_t node) const {
  const Range range = children(node);
  return {tokens_.data() + range.begin, static_cast<size_t>(range.size())};
}

int32_t Trie::child(int32_t node, int32_t token) const {
  if (node == kRoot) return token >= 0 && token < std::ssize(dense_) ? dense_[token] : kNone;
  const auto row = next_tokens(node);
  const auto place = std::lower_bound(row.begin(), row.end(), token);
  if (place == row.end() || *place != token) return kNone;
  return children(node).begin + static_cast<int32_t>(place - row.begin());
}

int32_t Trie::find(std::span<const int32_t> sequence) const {
  int32_t node = kRoot;
  for (size_t i = 0; i < sequence.size() && node != kNone; ++i) node = child(node, sequence[i]);
  return node;
}

std::span<const int32_t> Trie::items(int32_t node) const {
  return {items_.data() + first_item_[node], static_cast<size_t>(first_item_[node + 1] - first_item_[node])};
}

}  // namespace caravan::items
