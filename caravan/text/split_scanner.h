// Hand-made scanners for the pre-tokenization patterns of well-known models, several times faster than a regex engine.
//
//   if (auto scanner = SplitScanner::recognize(pattern)) scanner->scan(text, ends);   // text[0,ends[0]),
//   [ends[0],ends[1]) ...
//
// They cut exactly where the pattern matches (split_scanner_test.cc compares them with the regular expression).
// Known: GPT-2, Llama 3 (cl100k), Qwen 2/3 and the same with other digit groups.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace caravan::text {

class SplitScanner {
 public:
  static std::optional<SplitScanner> recognize(std::string_view pattern);

  // The ends of the matches; they cover the whole text.
  void scan(std::string_view text, std::vector<uint32_t>& ends) const;

 private:
  enum class Family { gpt2, cl100k };
  SplitScanner(Family family, uint32_t digits) : family_(family), digits_(digits) {}
  Family family_;
  uint32_t digits_;  // longest group of digits
};

}  // namespace caravan::text
