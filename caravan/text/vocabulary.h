// The tokens of a model: text to id and id to text. One arena for all texts, one flat hash table.
//
//   Vocabulary v;  v.add("hello", 5);  v.find("hello") == 5;  v.text(5) == "hello";
//
// Ids may have holes; memory goes by the number of tokens, not by the largest id.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace caravan::text {

// 64-bit hash of a short text (wyhash-like multiply-fold; not for hostile keys across processes: tables are bounded).
uint64_t hash_text(std::string_view text);

class Vocabulary {
 public:
  // Every piece with its index as id; of equal pieces the first one is found.
  static Vocabulary of_pieces(std::span<const std::string> pieces, std::string_view where);

  // Room for n tokens of `bytes` bytes together.
  void reserve(size_t n, size_t bytes);
  // Throws corrupt_file: range for an id that is taken or above 2^31 - 1, limit for a token above 16 KiB. The same text
  // again replaces its id. `where` names the file.
  void add(std::string_view text, int64_t id, std::string_view where);

  int32_t find(std::string_view text) const;  // -1 where there is none
  // ids[i] = find(texts[i]), the table's memory fetched ahead: three times faster on a large vocabulary.
  void find_all(std::span<const std::string_view> texts, std::span<int32_t> ids) const;
  // Whether find(head + tail) is `id`, without a search.
  bool is(int32_t id, std::string_view head, std::string_view tail) const;
  bool has_id(int32_t id) const { return index_of(id) >= 0; }
  std::string_view text(int32_t id) const {  // empty where there is none
    const int64_t index = index_of(id);
    return index < 0 ? std::string_view() : entry_text(entries_[static_cast<size_t>(index)]);
  }
  size_t size() const { return entries_.size(); }
  int32_t max_id() const { return max_id_; }
  // How many texts came again, and the first of them: for a warning.
  size_t repeated() const { return repeated_; }
  const std::string& first_repeated() const { return first_repeated_; }
  std::vector<int32_t> ids() const;  // ascending

 private:
  struct Entry {
    uint64_t begin;
    uint32_t length;
    int32_t id;
  };
  int64_t index_of(int32_t id) const {
    const size_t at = static_cast<uint32_t>(id);
    if (at < by_id_.size() && by_id_[at] >= 0) return by_id_[at];
    return far_.empty() ? -1 : far_index(id);
  }
  int32_t find_hashed(std::string_view text, uint64_t hash) const;
  int64_t far_index(int32_t id) const;
  void set_index(int32_t id, uint32_t index);
  void grow();
  void note_repeated(std::string_view text);
  std::string_view entry_text(const Entry& e) const { return {arena_.data() + e.begin, e.length}; }

  struct Slot {
    uint32_t hash = 0, entry = 0;  // entry + 1; 0: free
  };
  std::string arena_;
  std::vector<Entry> entries_;
  std::vector<Slot> slots_;
  std::vector<int32_t> by_id_;                 // id -> entry, -1 for holes
  std::unordered_map<int32_t, uint32_t> far_;  // ids too large for by_id_
  int32_t max_id_ = -1;
  size_t repeated_ = 0;
  std::string first_repeated_;
};

}  // namespace caravan::text
