// A list is searched from the front: tens of entries, each comparison ends at the first different token.
#include "caravan/generate/prefix_cache.h"

#include <algorithm>

namespace caravan::generate {

int64_t common_prefix(std::span<const int32_t> a, std::span<const int32_t> b) {
  const size_t n = std::min(a.size(), b.size());
  return std::mismatch(a.begin(), a.begin() + n, b.begin()).first - a.begin();
}

PrefixCache::Match PrefixCache::find(std::span<const int32_t> ids, int64_t limit) {
  auto best = entries_.end();
  int64_t shared = 0;
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
    const int64_t common = std::min(common_prefix(entry->ids, ids), limit);
    if (common > shared) {
      best = entry;
      shared = common;
    }
  }
  if (best == entries_.end() || shared < std::min(options_.min_shared, limit)) return {};
  Match match{.sequence = best->sequence.fork(), .tokens = shared};
  match.sequence.truncate(shared);
  entries_.splice(entries_.begin(), entries_, best);
  return match;
}

void PrefixCache::insert(std::vector<int32_t> ids, nn::CacheSequence sequence) {
  ids.resize(std::min<size_t>(ids.size(), sequence.length()));
  // What the new entry covers completely is of no more use.
  std::erase_if(entries_, [&](const Entry& e) { return common_prefix(e.ids, ids) == std::ssize(e.ids); });
  entries_.push_front({.ids = std::move(ids), .sequence = std::move(sequence)});
}

void PrefixCache::shrink() {
  int64_t tokens = 0;
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    tokens += std::ssize(entry->ids);
    entry = tokens > options_.max_tokens ? entries_.erase(entry) : std::next(entry);
  }
}

}  // namespace caravan::generate
