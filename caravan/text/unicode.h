// UTF-8 and the character classes that tokenizers ask for.
//
//   size_t at = 0;
//   while (at < text.size()) { char32_t c = decode_utf8(text, at); if (has(c, kLetter)) ... }
//
// The classes agree with Hugging Face `tokenizers` on every code point (unicode_tables.cc); they are not those of one
// Unicode version. Functions expect valid UTF-8: pass untrusted text through repair_utf8 first.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace caravan::text {

enum Property : uint16_t {
  kLetter = 1 << 0,       // \p{L}
  kNumber = 1 << 1,       // \p{N} of the regex engine
  kSpace = 1 << 2,        // White_Space
  kPunctuation = 1 << 3,  // ASCII punctuation and category P
  kDigit = 1 << 4,        // category N as the Digits pre-tokenizer has it
  kWord = 1 << 5,         // \w of the Whitespace pre-tokenizer and of single_word
  kMark = 1 << 6,         // combining marks that StripAccents removes
  kControl = 1 << 7,      // what BertNormalizer's clean_text removes
  kNonspacing = 1 << 8,   // what BertNormalizer's strip_accents removes
  kNotNfc = 1 << 9,       // may change or combine under NFC; likewise the next three
  kNotNfd = 1 << 10,
  kNotNfkc = 1 << 11,
  kNotNfkd = 1 << 12,
  kReorders = 1 << 13,  // canonical combining class is not 0
};

// Two-stage table behind has() and properties().
struct PropertyTable {
  uint16_t block[0x110000 >> 8];
  uint16_t value[0x110000];  // only the distinct blocks are used
  size_t blocks = 0;
};
extern const PropertyTable& kProperties;

inline uint16_t properties(char32_t c) {
  return kProperties.value[size_t{kProperties.block[c >> 8]} << 8 | (c & 0xFF)];
}
inline bool has(char32_t c, uint16_t property) { return (properties(c) & property) != 0; }

// Class under the UnicodeScripts pre-tokenizer; 0 goes with anything.
uint32_t script_class(char32_t c);

// The lowercase of one character; U+0130 is the only one with two: `second` is then U+0307, else 0.
char32_t lowercase(char32_t c, char32_t& second);

inline size_t utf8_length(unsigned char lead) { return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4; }
inline size_t utf8_size(char32_t c) { return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4; }

// The character at `at`, which moves behind it.
inline char32_t decode_utf8(std::string_view text, size_t& at) {
  auto byte = [&](size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(text[at + i])); };
  const char32_t lead = byte(0);
  if (lead < 0x80) {
    at += 1;
    return lead;
  }
  char32_t c;
  if (lead < 0xE0) {
    c = (lead & 0x1F) << 6 | (byte(1) & 0x3F);
    at += 2;
  } else if (lead < 0xF0) {
    c = (lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    at += 3;
  } else {
    c = (lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
    at += 4;
  }
  return c;
}

// The character that ends before `at`, which moves to its start.
inline char32_t decode_utf8_before(std::string_view text, size_t& at) {
  do --at;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80);
  size_t copy = at;
  return decode_utf8(text, copy);
}

void append_utf8(std::string& out, char32_t c);
std::string to_utf8(char32_t c);
size_t count_characters(std::string_view text);

bool is_ascii(std::string_view text);
bool is_valid_utf8(std::string_view text);

// Bytes that are not UTF-8 become U+FFFD, one for each maximal broken sequence (Python's errors="replace").
std::string repair_utf8(std::string_view text);

// How many bytes at the end of `text` are the valid beginning of an unfinished character (0..3).
size_t unfinished_utf8(std::string_view text);

}  // namespace caravan::text
