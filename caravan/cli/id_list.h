// Token ids as people write them: "1,2,3", "1 2 3", "[1, 2, 3]".
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "caravan/base/json.h"

namespace caravan::cli {

// Throws invalid_argument, naming `where` and the word that is no token id (an integer in [0, 2^31)).
std::vector<int32_t> parse_ids(std::string_view text, std::string_view where);

// The tokens of a model by its config's vocab_size; 0 where it says nothing.
int64_t vocabulary_of(const Json& config);

// Throws invalid_argument, naming `where`, for an id that is not in [0, vocabulary).
void check_in_vocabulary(int64_t id, int64_t vocabulary, std::string_view where);

}  // namespace caravan::cli
