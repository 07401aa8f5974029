// The per-thread tables of word_cache.h.
#include "caravan/text/word_cache.h"

#include <algorithm>
#include <atomic>
#include <deque>

namespace caravan::text {
namespace {
constexpr size_t kModels = 4;  // tables a thread keeps
}

uint64_t WordCache::new_key() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

WordCache& WordCache::of_this_thread(uint64_t model_key) {
  thread_local std::deque<WordCache> caches;
  thread_local WordCache* latest = nullptr;
  thread_local uint64_t clock = 0;
  if (latest && latest->model_key_ == model_key) return *latest;
  auto it = std::find_if(caches.begin(), caches.end(), [&](const WordCache& c) { return c.model_key_ == model_key; });
  if (it == caches.end()) {
    if (caches.size() < kModels) {
      it = caches.insert(caches.end(), WordCache());
    } else {
      it = std::min_element(caches.begin(), caches.end(),
                            [](const WordCache& a, const WordCache& b) { return a.used_ < b.used_; });
      std::fill(it->lines_.begin(), it->lines_.end(), Line{});
    }
    it->model_key_ = model_key;
  }
  it->used_ = ++clock;
  latest = &*it;
  return *latest;
}

void WordCache::store(std::string_view word, uint64_t hash, std::span<const Token> tokens) {
  if (word.empty() || word.size() > kWordLimit || tokens.size() > kTokens || tokens.empty()) return;
  uint32_t at = tokens.front().begin;
  for (const Token& t : tokens) {
    if (t.surface || t.begin != at || t.end - t.begin > 255) return;
    at = t.end;
  }
  Line& line = lines_[hash & (kLines - 1)];
  line.size = static_cast<uint8_t>(word.size());
  line.count = static_cast<uint8_t>(tokens.size());
  std::memcpy(line.word, word.data(), word.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    line.ids[i] = tokens[i].id;
    line.lengths[i] = static_cast<uint8_t>(tokens[i].end - tokens[i].begin);
  }
}

}  // namespace caravan::text
