// The numbers that a block can hold once its scales are chosen: start + step * point(level), element by element; and
// putting levels into it. What error compensation (gptq.h) rounds to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "caravan/base/dtype.h"

namespace caravan::quant {

bool has_grid(DType dtype);  // every block type but q8_0, where there is nothing to gain

// point(level), ascending: 0, 1, 2 ... where levels are evenly spaced, iq4's table of 16 where they are not.
std::span<const float> grid_points(DType dtype);

// Of one block: start and step of each of its elements.
void read_grid(DType dtype, std::span<const std::byte> block, std::span<float> start, std::span<float> step);

// Replaces the levels of one block, its scales stay.
void put_levels(DType dtype, std::span<const uint8_t> levels, std::span<std::byte> block);

}  // namespace caravan::quant
