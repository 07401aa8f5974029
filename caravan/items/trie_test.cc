#include "caravan/items/trie.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "caravan/base/error.h"

namespace caravan::items {
namespace {

using Sequence = std::vector<int32_t>;

// What the trie must say, from its definition.
struct Plain {
  std::map<Sequence, std::set<int32_t>> next;
  std::map<Sequence, std::vector<int32_t>> items;
  explicit Plain(const std::vector<Sequence>& sequences) {
    for (size_t i = 0; i < sequences.size(); ++i) {
      for (size_t n = 0; n < sequences[i].size(); ++n) {
        next[{sequences[i].begin(), sequences[i].begin() + static_cast<int64_t>(n)}].insert(sequences[i][n]);
      }
      if (!sequences[i].empty()) items[sequences[i]].push_back(static_cast<int32_t>(i));
    }
  }
};

void expect_equal(const Trie& trie, const Plain& plain) {
  for (const auto& [prefix, next] : plain.next) {
    const int32_t node = trie.find(prefix);
    ASSERT_NE(node, Trie::kNone);
    const auto tokens = trie.next_tokens(node);
    ASSERT_EQ(Sequence(tokens.begin(), tokens.end()), Sequence(next.begin(), next.end()));
    for (int32_t token = -1; token < 12; ++token) {
      const int32_t child = trie.child(node, token);
      ASSERT_EQ(child != Trie::kNone, next.contains(token));
      if (child == Trie::kNone) continue;
      ASSERT_EQ(trie.token(child), token);
      ASSERT_EQ(trie.parent(child), node);
      ASSERT_EQ(trie.level_tokens(static_cast<int64_t>(prefix.size()))[trie.column(child)], token);
    }
  }
  for (const auto& [sequence, items] : plain.items) {
    const auto found = trie.items(trie.find(sequence));
    ASSERT_EQ(Sequence(found.begin(), found.end()), items);
    for (int32_t item : items) ASSERT_EQ(trie.node_of(item), trie.find(sequence));
  }
}

TEST(Trie, SaysWhatItsSequencesSayOverRandomSets) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<Sequence> sequences(random() % 60);
    for (Sequence& sequence : sequences) {
      sequence.resize(random() % 5);  // some empty, some the beginning of others
      for (int32_t& token : sequence) token = static_cast<int32_t>(random() % 10);
    }
    const Trie trie(sequences);
    ASSERT_EQ(trie.item_count(), std::ssize(sequences));
    expect_equal(trie, Plain(sequences));
  }
}

TEST(Trie, SharedSequencesAreOrderedByPopularity) {
  const std::vector<Sequence> sequences = {{1, 2}, {1, 2}, {3, 4}, {1, 2}};
  const std::vector<int64_t> counts = {5, 9, 1, 5};
  const Trie trie(sequences, counts);
  const auto items = trie.items(trie.find(sequences[0]));
  EXPECT_EQ(Sequence(items.begin(), items.end()), (Sequence{1, 0, 3}));
  EXPECT_TRUE(trie.same_depth());
  EXPECT_EQ(trie.depth(), 2);
  EXPECT_EQ(trie.nodes(), 5);
}

TEST(Trie, KnowsDifferentDepths) {
  const Trie trie(std::vector<Sequence>{{1, 2}, {1}});
  EXPECT_FALSE(trie.same_depth());
  EXPECT_EQ(trie.items(trie.find(Sequence{1})).size(), 1U);
  EXPECT_EQ(trie.children(trie.find(Sequence{1})).size(), 1);
}

TEST(Trie, AnEmptySetAllowsNothing) {
  for (const Trie& trie : {Trie(std::vector<Sequence>()), Trie(std::vector<Sequence>{{}})}) {
    EXPECT_EQ(trie.depth(), 0);
    EXPECT_TRUE(trie.next_tokens(Trie::kRoot).empty());
    EXPECT_EQ(trie.child(Trie::kRoot, 0), Trie::kNone);
    EXPECT_EQ(trie.find({}), Trie::kRoot);
  }
}

TEST(Trie, RefusesNegativeTokensAndWrongCounts) {
  EXPECT_THROW(Trie(std::vector<Sequence>{{1, -1}}), Error);
  const std::vector<int64_t> counts = {1};
  EXPECT_THROW(Trie(std::vector<Sequence>{{1}, {2}}, counts), Error);
}

TEST(Trie, RandomWalksNeverLeaveIt) {
  std::mt19937 random(11);
  std::vector<Sequence> sequences(500);
  std::set<Sequence> known;
  for (Sequence& sequence : sequences) {
    for (int level = 0; level < 4; ++level) sequence.push_back(static_cast<int32_t>(level * 100 + random() % 9));
    known.insert(sequence);
  }
  const Trie trie(sequences);
  for (int walk = 0; walk < 10000; ++walk) {
    Sequence path;
    int32_t node = Trie::kRoot;
    while (trie.children(node).size() > 0) {
      const Trie::Range range = trie.children(node);
      node = range.begin + static_cast<int32_t>(random() % static_cast<uint32_t>(range.size()));
      path.push_back(trie.token(node));
    }
    ASSERT_TRUE(known.contains(path));
    ASSERT_FALSE(trie.items(node).empty());
  }
}

}  // namespace
}  // namespace caravan::items
