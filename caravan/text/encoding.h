// Joining, truncating and padding of encodings, as Hugging Face tokenizers does it, overflowing parts included.
//
//   truncate_encodings(first, second, truncation);   merge(first, std::move(second));   pad_all(encodings, padding);
//
// Fields that the ids-only path leaves empty stay empty.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "caravan/text/tokenizer.h"

namespace caravan::text {

// The last part of the inputs of `merge`: all of a and then all of b, and every combination of overflowing parts.
void merge(Encoding& a, Encoding&& b);

// Keeps `length` tokens; what is cut off becomes overflowing parts that share `stride` tokens with their neighbour.
void truncate(Encoding& encoding, size_t length, size_t stride, bool from_right);

// Throws invalid_argument where the strategy cannot reach the length. `second` may be null.
void truncate_encodings(Encoding& first, Encoding* second, const Truncation& truncation);

void pad_all(std::span<Encoding> encodings, const Padding& padding);

// Tokens that a post-processor puts: no offsets, no words. `details`: fill more than ids.
Encoding special_tokens(std::span<const int32_t> ids, std::span<const std::string> tokens, int32_t type_id,
                        bool details);

}  // namespace caravan::text
