// The alphabet of byte_level.h: printable Latin-1 bytes stand for themselves, the others for U+0100 and on.
#include "caravan/text/byte_level.h"

#include <array>

#include "caravan/text/unicode.h"

namespace caravan::text {
namespace {

struct Alphabet {
  std::array<char32_t, 256> character{};
  std::array<int16_t, 512> byte{};
  Alphabet() {
    byte.fill(-1);
    char32_t next = 256;
    for (unsigned b = 0; b < 256; ++b) {
      const bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      character[b] = printable ? b : next++;
      byte[character[b]] = static_cast<int16_t>(b);
    }
  }
};

const Alphabet kAlphabet;

}  // namespace

char32_t byte_character(unsigned char byte) { return kAlphabet.character[byte]; }

int character_byte(char32_t c) { return c < 512 ? kAlphabet.byte[c] : -1; }

void append_byte_level(std::string& out, std::string_view bytes) {
  for (char b : bytes) append_utf8(out, byte_character(static_cast<unsigned char>(b)));
}

bool append_bytes(std::string& out, std::string_view text) {
  const size_t before = out.size();
  for (size_t at = 0; at < text.size();) {
    const int byte = character_byte(decode_utf8(text, at));
    if (byte < 0) {
      out.resize(before);
      return false;
    }
    out += static_cast<char>(byte);
  }
  return true;
}

}  // namespace caravan::text
