// All keys that are a prefix of a text, in one walk.
//
//   Trie trie({{"a", 0}, {"abc", 1}});
//   trie.prefixes("abcd", [](size_t length, int32_t value) { ... });   // (1, 0), (3, 1)
//
// Branches with a single key keep its rest as text: about two nodes a key. Of equal keys the last one counts.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace caravan::text {

class Trie {
 public:
  using Key = std::pair<std::string_view, int32_t>;
  Trie() = default;
  explicit Trie(std::vector<Key> keys);

  template <class F>
  void prefixes(std::string_view text, F found) const {
    uint32_t at = 0;
    for (size_t depth = 0;; ++depth) {
      const Node& node = nodes_[at];
      if (node.value >= 0) found(depth, node.value);
      if (node.rest_value >= 0) {
        if (text.size() - depth >= node.rest_size &&
            std::memcmp(text.data() + depth, rests_.data() + node.rest, node.rest_size) == 0)
          found(depth + node.rest_size, node.rest_value);
        return;
      }
      if (depth == text.size()) return;
      const unsigned char byte = static_cast<unsigned char>(text[depth]);
      if (depth == 0) {
        at = root_[byte];
        if (at == 0) return;
        continue;
      }
      const void* label = std::memchr(labels_.data() + node.edges, byte, node.count);
      if (label == nullptr) return;
      at = targets_[static_cast<size_t>(static_cast<const unsigned char*>(label) - labels_.data())];
    }
  }

  // The longest key that the text starts with: (length, value); value -1 where there is none.
  std::pair<size_t, int32_t> longest(std::string_view text) const {
    std::pair<size_t, int32_t> best{0, -1};
    prefixes(text, [&](size_t length, int32_t value) { best = {length, value}; });
    return best;
  }

  bool starts(unsigned char byte) const { return root_[byte] != 0; }

 private:
  struct Node {
    int32_t value = -1;  // of the key that ends here
    uint32_t edges = 0;  // first of its labels
    uint16_t count = 0;
    int32_t rest_value = -1;  // of the only key below, whose remaining text is rests_[rest, rest + rest_size)
    uint32_t rest = 0, rest_size = 0;
  };
  struct Range {
    size_t begin, end, depth;
    uint32_t node;
  };
  void build(std::vector<Key>& keys, const Range& range, std::vector<Range>& todo);

  std::vector<Node> nodes_ = std::vector<Node>(1);  // the root
  std::vector<unsigned char> labels_;
  std::vector<uint32_t> targets_;
  std::string rests_;
  std::array<uint32_t, 256> root_{};
};

}  // namespace caravan::text
