// What the Unicode version of Oniguruma (16 in Hugging Face tokenizers 0.23) adds to the character classes of
// PCRE2 10.42 (14): U+0363 is Alphabetic since Unicode 16, CJK extension H exists since 15 ... Code points that a class
// lost are left out (only U+1171E of Mn, and what was unassigned).
#pragma once

#include <string_view>

namespace caravan::text {

// Members to put into a PCRE2 character class beside \p{property} ("L", "Nd", "Alphabetic" ...); empty where nothing
// was added.
std::string_view added_members(std::string_view property);

}  // namespace caravan::text
