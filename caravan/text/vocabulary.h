// The tokens of a model: text to id and id to text. One arena for all texts, one flat hash table.
//
//   Vocabulary v;  v.add("hello", 5);  v.find("hello") == 5;  v.text(5) == "hello";
//
// Ids may have holes; memory goes by the number of tokens, not by the largest id.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace caravan::text {

// 64-bit hash of a short text (wyhash-like multiply-fold; not for hostile keys across processes: tables are bounded).
uint64_t hash_text(std::string_view text);

class Vocabulary {
 public:
  // Room for n tokens of `bytes` bytes together.
  void reserve(size_t n, size_t bytes);
  // Throws corrupt_file: range for an id that is taken or above 2^31 - 1, limit for a token above 16 KiB. The same text
  // again replaces its id. `where` names the file.
  void add(std::string_view text, int64_t id, std::string_view where);

  int32_t find(std::string_view text) const;  // -1 where there is none
  bool has_id(int32_t id) const { return index_of(id) >= 0; }
  std::string_view text(int32_t id) const;  // empty where there is none
  size_t size() const { return entries_.size(); }
  int32_t max_id() const { return max_id_; }
  std::vector<int32_t> ids() const;  // ascending

 private:
  struct Entry {
    uint64_t begin;
    uint32_t length;
    int32_t id;
  };
  int64_t index_of(int32_t id) const;
  void set_index(int32_t id, uint32_t index);
  void grow();
  std::string_view entry_text(const Entry& e) const { return std::string_view(arena_).substr(e.begin, e.length); }

  struct Slot {
    uint32_t hash = 0, entry = 0;  // entry + 1; 0: free
  };
  std::string arena_;
  std::vector<Entry> entries_;
  std::vector<Slot> slots_;
  std::vector<int32_t> by_id_;                 // id -> entry, -1 for holes
  std::unordered_map<int32_t, uint32_t> far_;  // ids too large for by_id_
  int32_t max_id_ = -1;
};

}  // namespace caravan::text
