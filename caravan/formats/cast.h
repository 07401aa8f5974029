// Conversion between stored floating-point types: f64, f32, f16, bf16, and f8 as a source.
//
//   cast_elements(DType::bf16, bytes, DType::f32, result);
//
// Rounds once, to nearest, ties to even, as IEEE 754 and torch do (f64 to a 16-bit type too); what is too large becomes
// infinity, NaN stays NaN. Widening is exact.
#pragma once

#include <cstddef>
#include <span>

#include "caravan/base/dtype.h"

namespace caravan::formats {

bool can_cast(DType from, DType to);

// `from_bytes` and `to_bytes` hold the same number of elements and do not overlap. Throws unsupported where
// can_cast(from, to) is false.
void cast_elements(DType from, std::span<const std::byte> from_bytes, DType to, std::span<std::byte> to_bytes);

}  // namespace caravan::formats
