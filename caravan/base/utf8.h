// UTF-8 validity of text from files: the Unicode standard's table 3-7 (no overlong forms, no surrogates, <= U+10FFFF).
//
//   size_t bad = find_invalid_utf8(text);   // npos where all of it is valid
#pragma once

#include <cstddef>
#include <string_view>

namespace caravan {

// Offset of the first byte that does not belong to a valid sequence, or std::string_view::npos.
size_t find_invalid_utf8(std::string_view text);

}  // namespace caravan
