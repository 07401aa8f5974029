// The arrays of one Flax file: their paths, shapes, and where their bytes lie. Parsing touches no array.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/base/dtype.h"

namespace caravan::formats {

struct FlaxArray {
  std::vector<std::string> path;
  DType dtype = DType::f32;
  std::vector<int64_t> shape;                      // as stored
  std::vector<std::span<const std::byte>> chunks;  // in order; one, unless the array was too large
};

// Throws corrupt_file: truncated, type, range, layout, limit (nesting), duplicate, utf8; unsupported for dtypes.
std::vector<FlaxArray> parse_flax_tree(std::span<const std::byte> file, std::string_view path);

}  // namespace caravan::formats
