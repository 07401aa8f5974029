// Token sequences whose keys and values are stored, found again by their longest common prefix with a new prompt.
//
//   PrefixCache prefixes({.max_tokens = 100'000});
//   prefixes.insert(ids, cache.fork());
//   auto [sequence, shared] = prefixes.find(prompt, prompt.size() - 1);    // a fork of `shared` tokens
//
// Pages are shared, not copied. The least recently used entries go first.
#pragma once

#include <cstdint>
#include <list>
#include <span>
#include <vector>

#include "caravan/nn/kv_cache.h"

namespace caravan::generate {

int64_t common_prefix(std::span<const int32_t> a, std::span<const int32_t> b);

class PrefixCache {
 public:
  struct Options {
    int64_t max_tokens = 0;   // kept when no request needs them; 0: nothing outlives its requests
    int64_t min_shared = 16;  // shorter common prefixes are not worth a fork
  };
  struct Match {
    nn::CacheSequence sequence;  // empty where nothing matched
    int64_t tokens = 0;
  };

  explicit PrefixCache(Options options) : options_(options) {}
  Match find(std::span<const int32_t> ids, int64_t limit);
  void insert(std::vector<int32_t> ids, nn::CacheSequence sequence);
  void shrink();  // to max_tokens
  void clear() { entries_.clear(); }
  const Options& options() const { return options_; }

 private:
  struct Entry {
    std::vector<int32_t> ids;
    nn::CacheSequence sequence;
  };
  Options options_;
  std::list<Entry> entries_;  // most recently used first
};

}  // namespace caravan::generate
