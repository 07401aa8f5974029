// Building of a Trie: ranges of keys are partitioned by their next byte, without recursion.
#include "caravan/text/trie.h"

#include <algorithm>
#include <cstddef>

namespace caravan::text {

Trie::Trie(std::vector<Key> keys) {
  std::vector<Range> todo;
  if (!keys.empty()) todo.push_back({0, keys.size(), 0, 0});
  while (!todo.empty()) {
    const Range range = todo.back();
    todo.pop_back();
    build(keys, range, todo);
  }
}

void Trie::build(std::vector<Key>& keys, const Range& range, std::vector<Range>& todo) {
  const size_t depth = range.depth;
  if (range.end - range.begin == 1 && depth > 0) {
    const Key& key = keys[range.begin];
    if (key.first.size() == depth) {
      nodes_[range.node].value = key.second;
      return;
    }
    Node& node = nodes_[range.node];
    node.rest_value = key.second;
    node.rest = static_cast<uint32_t>(rests_.size());
    node.rest_size = static_cast<uint32_t>(key.first.size() - depth);
    rests_ += key.first.substr(depth);
    return;
  }
  std::array<uint32_t, 257> counts{};  // by next byte; 0: the key ends here
  auto slot = [&](const Key& key) {
    return key.first.size() == depth ? 0 : 1 + static_cast<unsigned char>(key.first[depth]);
  };
  for (size_t i = range.begin; i < range.end; ++i) ++counts[static_cast<size_t>(slot(keys[i]))];
  std::array<size_t, 258> start{};
  for (size_t s = 0; s < 257; ++s) start[s + 1] = start[s] + counts[s];
  std::vector<Key> sorted(range.end - range.begin);
  std::array<size_t, 258> place = start;
  for (size_t i = range.begin; i < range.end; ++i) sorted[place[static_cast<size_t>(slot(keys[i]))]++] = keys[i];
  std::copy(sorted.begin(), sorted.end(), keys.begin() + static_cast<ptrdiff_t>(range.begin));
  if (counts[0] > 0) nodes_[range.node].value = sorted[counts[0] - 1].second;
  nodes_[range.node].edges = static_cast<uint32_t>(labels_.size());
  for (size_t s = 1; s < 257; ++s) {
    if (counts[s] == 0) continue;
    const uint32_t child = static_cast<uint32_t>(nodes_.size());
    nodes_.emplace_back();
    labels_.push_back(static_cast<unsigned char>(s - 1));
    targets_.push_back(child);
    ++nodes_[range.node].count;
    if (depth == 0) root_[s - 1] = child;
    todo.push_back({range.begin + start[s], range.begin + start[s + 1], depth + 1, child});
  }
}

}  // namespace caravan::text
