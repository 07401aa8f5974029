// GPT-2's byte-level alphabet: every byte has a printable character.
//
//   byte_character(' ') == U'Ġ';   character_byte(U'Ġ') == ' ';
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace caravan::text {

char32_t byte_character(unsigned char byte);
int character_byte(char32_t c);                                    // -1 for a character outside of the alphabet
void append_byte_level(std::string& out, std::string_view bytes);  // each byte as its character
bool append_bytes(std::string& out, std::string_view text);  // the way back; false (nothing appended) where it is not

}  // namespace caravan::text
