// Token ids as people write them: "1,2,3", "1 2 3", "[1, 2, 3]".
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace caravan::cli {

// Throws invalid_argument, naming `where` and the word that is no token id (an integer in [0, 2^31)).
std::vector<int32_t> parse_ids(std::string_view text, std::string_view where);

}  // namespace caravan::cli
