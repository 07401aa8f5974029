// Regular expressions as tokenizer files write them (Oniguruma's Ruby syntax), run by PCRE2 with JIT.
//
//   Regex digits("\\p{N}{1,3}", "tokenizer.json");
//   digits.find_all(text, [](size_t begin, size_t end) { ... });
//
// Differences of syntax and of \s, \w, \d, POSIX classes, class set operations are translated (onig_syntax.cc).
// Hostile patterns: at most 64 KiB; a match that needs too many steps throws corrupt_file with fault fuel.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/text/pieces.h"

namespace caravan::text {

// Oniguruma (Ruby) syntax to PCRE2's. Throws fault unsupported for what has no counterpart.
std::string translate_onig(std::string_view pattern, std::string_view where);

class Regex {
 public:
  Regex(std::string_view pattern, std::string where);  // throws fault json where it does not compile
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;

  // All matches from left to right, not overlapping; no empty match directly behind another match.
  void find_all(std::string_view text, std::vector<Span>& matches) const;

 private:
  struct Compiled;
  std::unique_ptr<Compiled> compiled_;
};

}  // namespace caravan::text
