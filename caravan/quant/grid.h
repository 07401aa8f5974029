// The numbers that a block can hold once its scales are chosen: level * step + start, element by element; and putting
// levels into it. What error compensation (gptq.h) rounds to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "caravan/base/dtype.h"

namespace caravan::quant {

// Types whose levels are evenly spaced; not iq4_nl and iq4_xs, nor q8_0, where there is nothing to gain.
bool has_grid(DType dtype);
int highest_level(DType dtype);  // levels are 0 .. highest

// Of one block: start and step of each of its elements.
void read_grid(DType dtype, std::span<const std::byte> block, std::span<float> start, std::span<float> step);

// Replaces the levels of one block, its scales stay.
void put_levels(DType dtype, std::span<const uint8_t> levels, std::span<std::byte> block);

}  // namespace caravan::quant
