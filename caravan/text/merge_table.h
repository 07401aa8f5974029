// The merges of a BPE model: the rank of a pair of tokens, and the token that a rank makes.
//
//   MergeTable table({{left, right, made}, ...});           // in the order of their rank
//   uint32_t rank = table.rank(left, right);                // kNone where nothing merges
//   if (rank != MergeTable::kNone) int32_t id = table.made(rank);
//
// Open addressing over 8-byte slots (a hash's upper half and the rank): most pairs do not merge, and finding that out
// costs one cache line of a table that is small enough for the second-level cache in a 32,000-token model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace caravan::text {

class MergeTable {
 public:
  static constexpr uint32_t kNone = ~uint32_t{0};
  struct Merge {
    int32_t left, right, made;
  };

  MergeTable() = default;
  explicit MergeTable(std::vector<Merge> merges);  // a pair that comes twice has its last rank

  uint32_t rank(int32_t left, int32_t right) const {
    const uint64_t hash = hash_pair(left, right);
    for (size_t at = hash & mask_;; at = (at + 1) & mask_) {
      const Slot slot = slots_[at];
      if (slot.rank == kNone) return kNone;
      if (slot.print == static_cast<uint32_t>(hash >> 32) && is(slot.rank, left, right)) return slot.rank;
    }
  }
  int32_t made(uint32_t rank) const { return merges_[rank].made; }
  const std::vector<Merge>& merges() const { return merges_; }

 private:
  struct Slot {
    uint32_t print = 0, rank = kNone;
  };
  static uint64_t hash_pair(int32_t left, int32_t right) {
    const uint64_t pair = uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
    const unsigned __int128 product = static_cast<unsigned __int128>(pair ^ 0x9E3779B97F4A7C15u) * 0xA0761D6478BD642Fu;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  }
  bool is(uint32_t rank, int32_t left, int32_t right) const {
    return merges_[rank].left == left && merges_[rank].right == right;
  }

  std::vector<Merge> merges_;
  std::vector<Slot> slots_ = std::vector<Slot>(1);
  size_t mask_ = 0;
};

}  // namespace caravan::text
