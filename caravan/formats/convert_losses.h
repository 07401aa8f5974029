// What a conversion leaves behind without an error: features that the target cannot hold, settings that its readers
// ignore, files that are not carried over. A line each, for a warning.
//
//   for (const std::string& line : conversion_losses(*from, "gguf")) warn(line);
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/formats/checkpoint.h"

namespace caravan::formats {

std::vector<std::string> conversion_losses(const Checkpoint& from, std::string_view format);

// How many elements are infinite: of a floating-point type that has infinities; else 0.
size_t count_infinite(DType dtype, std::span<const std::byte> bytes);

}  // namespace caravan::formats
