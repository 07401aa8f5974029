// What a thread remembers of the words it has tokenized: a small direct-mapped table, one cache line a word.
//
//   WordCache& cache = WordCache::of_this_thread(model_key);
//   if (!cache.find(word, hash, out)) { ...; cache.store(word, hash, tokens); }
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "caravan/text/model.h"

namespace caravan::text {

class WordCache {
 public:
  static constexpr size_t kWordLimit = 22;  // bytes; longer words are rare and not kept

  // The table of a model (by its unique key); a thread keeps the tables of the last few models.
  static WordCache& of_this_thread(uint64_t model_key);
  static uint64_t new_key();

  // Appends the word's tokens, shifted by `base`, where the word is known.
  bool find(std::string_view word, uint64_t hash, uint32_t base, std::vector<Token>& out) const {
    const Line& line = lines_[hash & (kLines - 1)];
    if (line.size != word.size() || std::memcmp(line.word, word.data(), word.size()) != 0) return false;
    uint32_t at = base;
    for (size_t i = 0; i < line.count; ++i) {
      out.push_back({line.ids[i], at, at + line.lengths[i]});
      at += line.lengths[i];
    }
    return true;
  }

  // Only tokens that follow each other without a gap and carry their own text can be kept.
  void store(std::string_view word, uint64_t hash, std::span<const Token> tokens);

 private:
  static constexpr size_t kLines = 1 << 14;  // 1 MiB: fits a second-level cache
  static constexpr size_t kTokens = 8;
  struct alignas(64) Line {
    uint8_t size = 0, count = 0;  // size 0: free
    char word[kWordLimit];
    int32_t ids[kTokens];
    uint8_t lengths[kTokens];
  };
  static_assert(sizeof(Line) == 64);
  uint64_t model_key_ = 0, used_ = 0;
  std::vector<Line> lines_ = std::vector<Line>(kLines);
};

}  // namespace caravan::text
