// Strings as numbers 0, 1, 2 ... in order of first appearance: each distinct string is kept once, in one block of
// memory (its bytes, an 8-byte offset and 8 bytes of hash table), so that an interaction needs only two 4-byte numbers.
//
//   Interner users;
//   users.intern("A1YJEY40YUW4SE");   // 0
//   users.view(0);                    // "A1YJEY40YUW4SE"; valid until the next intern()
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace caravan::data {

class Interner {
 public:
  int32_t intern(std::string_view text);      // unsupported beyond 2^31 - 1 strings
  int32_t find(std::string_view text) const;  // -1 where it was never interned
  std::string_view view(int32_t number) const;
  int64_t size() const { return static_cast<int64_t>(begins_.size()) - 1; }

 private:
  size_t slot_of(std::string_view text) const;  // where it is, or where it would go
  void grow();
  std::vector<char> bytes_;
  std::vector<uint64_t> begins_{0};  // of string i; one more than strings
  std::vector<int32_t> slots_;       // open addressing, a power of two; -1: free
};

}  // namespace caravan::data
