// Normalizers of tokenizer.json: Sequence, NFC/NFD/NFKC/NFKD, Nmt, Lowercase, StripAccents, Strip, Replace, Prepend,
// BertNormalizer, Precompiled, ByteLevel.
//
//   auto normalizer = make_normalizer(json["normalizer"], "tokenizer.json");
//   normalizer->apply(text);
#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "caravan/base/json.h"
#include "caravan/text/pieces.h"

namespace caravan::text {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void apply(AlignedText& text) const = 0;
};

// Throws fault unsupported for an unknown type, json or type for a malformed member. Null gives nullptr.
std::unique_ptr<Normalizer> make_normalizer(const Json& json, std::string_view where, int depth = 0);

// The "type" of a component, checked; and its nesting (a Sequence in a Sequence ...), at most 16.
std::string component_type(const Json& json, std::string_view what, std::string_view where, int depth);

// The array of a Sequence.
const Json& component_list(const Json& json, std::string_view key, std::string_view where);

// What Replace, Split and the decoder Replace look for: {"String": ...} or {"Regex": ...}.
class Pattern {
 public:
  Pattern(const Json& json, std::string_view where);
  ~Pattern();
  Pattern(Pattern&&) noexcept;
  // Matches in order; an empty pattern matches before and behind every character.
  void find_all(std::string_view text, std::vector<Span>& matches) const;
  const std::string* regex() const { return regex_ ? &text_ : nullptr; }  // its source; null for a literal

 private:
  struct Matcher;
  std::string text_;
  std::unique_ptr<Matcher> regex_;
};

}  // namespace caravan::text
