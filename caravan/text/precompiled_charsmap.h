// SentencePiece's compiled normalization rules: a double-array trie of replacements.
//
//   PrecompiledCharsmap map(bytes, "tokenizer.json");
//   if (auto to = map.find("Ａ")) ...   // "A"
//
// Blob: uint32 size of the trie, the trie (uint32 units, Darts-clone), then zero-terminated replacements. The whole
// trie is checked once (CVE-2026-1260 steers an unchecked one out of its array).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace caravan::text {

class PrecompiledCharsmap {
 public:
  PrecompiledCharsmap(std::string_view blob, std::string_view where);  // throws fault layout
  // The replacement of the shortest rule that the text starts with.
  std::optional<std::string_view> find(std::string_view text) const;

 private:
  void validate(std::string_view where) const;
  std::vector<uint32_t> units_;
  std::string replacements_;
};

std::string decode_base64(std::string_view text, std::string_view where);  // throws fault json

}  // namespace caravan::text
