// Filling of the table of merge_table.h: slots are fetched ahead, their order in memory is random.
#include "caravan/text/merge_table.h"

#include <algorithm>

namespace caravan::text {

MergeTable::MergeTable(std::vector<Merge> merges) : merges_(std::move(merges)) {
  constexpr size_t kAhead = 16;
  size_t slots = 16;
  while (slots < 2 * merges_.size()) slots *= 2;
  slots_.assign(slots, {});
  mask_ = slots - 1;
  uint64_t hashes[kAhead];
  for (size_t begin = 0; begin < merges_.size(); begin += kAhead) {
    const size_t n = std::min(kAhead, merges_.size() - begin);
    for (size_t i = 0; i < n; ++i) {
      hashes[i] = hash_pair(merges_[begin + i].left, merges_[begin + i].right);
      __builtin_prefetch(&slots_[hashes[i] & mask_], 1);
    }
    for (size_t i = 0; i < n; ++i) {
      const Merge& m = merges_[begin + i];
      const uint32_t print = static_cast<uint32_t>(hashes[i] >> 32);
      size_t at = hashes[i] & mask_;
      while (slots_[at].rank != kNone && !(slots_[at].print == print && is(slots_[at].rank, m.left, m.right)))
        at = (at + 1) & mask_;
      slots_[at] = {print, static_cast<uint32_t>(begin + i)};
    }
  }
}

}  // namespace caravan::text
