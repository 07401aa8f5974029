// Every 16-bit and 8-bit value, and rounding of doubles against exact comparison with both neighbours.
#include "caravan/formats/cast.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "caravan/base/error.h"

namespace caravan::formats {
namespace {

template <class To, class From>
To cast_one(DType from, From value, DType to) {
  To result;
  cast_elements(from, std::as_bytes(std::span(&value, 1)), to, std::as_writable_bytes(std::span(&result, 1)));
  return result;
}

// The value of a 16-bit float, from its definition.
double value_of(uint16_t b, int mantissa_bits) {
  const int exponent_bits = 15 - mantissa_bits, bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = (b >> mantissa_bits) & ((1 << exponent_bits) - 1), fraction = b & ((1 << mantissa_bits) - 1);
  const double sign = (b & 0x8000) != 0 ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1) return fraction == 0 ? sign * INFINITY : NAN;
  const int significand = exponent == 0 ? fraction : fraction + (1 << mantissa_bits);
  return sign * std::ldexp(significand, std::max(exponent, 1) - bias - mantissa_bits);
}

struct Format {
  DType dtype;
  int mantissa;
};
const Format kFormats[] = {{DType::f16, 10}, {DType::bf16, 7}};

TEST(Cast, EverySixteenBitValueWidensExactlyAndComesBack) {
  for (const Format format : kFormats) {
    for (uint32_t i = 0; i < 65536; ++i) {
      const auto b = static_cast<uint16_t>(i);
      const double expected = value_of(b, format.mantissa);
      const auto f = cast_one<float>(format.dtype, b, DType::f32);
      const auto d = cast_one<double>(format.dtype, b, DType::f64);
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(f) && std::isnan(d));
        ASSERT_TRUE(std::isnan(value_of(cast_one<uint16_t>(DType::f32, f, format.dtype), format.mantissa)));
        continue;
      }
      ASSERT_EQ(static_cast<double>(f), expected);
      ASSERT_EQ(d, expected);
      ASSERT_EQ(std::signbit(d), (b & 0x8000) != 0);
      ASSERT_EQ(cast_one<uint16_t>(DType::f32, f, format.dtype), b);
      ASSERT_EQ(cast_one<uint16_t>(DType::f64, d, format.dtype), b);
    }
  }
}

// The nearest 16-bit value, ties to even, by trying all candidates of the sign.
uint16_t nearest(double d, int mantissa_bits) {
  const uint16_t sign = std::signbit(d) ? 0x8000 : 0;
  const double x = std::fabs(d);
  const auto infinity = static_cast<uint16_t>(((1 << (15 - mantissa_bits)) - 1) << mantissa_bits);
  uint16_t low = 0, high = infinity;  // largest value <= x
  while (low < high) {
    const auto middle = static_cast<uint16_t>((low + high + 1) / 2);
    if (value_of(middle, mantissa_bits) <= x)
      low = middle;
    else
      high = static_cast<uint16_t>(middle - 1);
  }
  if (low == infinity) return sign | infinity;
  const double below = value_of(low, mantissa_bits);
  const bool last = low + 1 == infinity;  // the next step of the grid stands for infinity
  const double above = last ? below + (below - value_of(low - 1, mantissa_bits)) : value_of(low + 1, mantissa_bits);
  const double down = x - below, up = above - x;
  const bool round_up = up < down || (up == down && (low & 1) != 0);
  return sign | static_cast<uint16_t>(low + (round_up ? 1 : 0));
}

TEST(Cast, NarrowingRoundsOnceToNearestEven) {
  std::mt19937_64 random(7);
  for (const Format format : kFormats) {
    for (int i = 0; i < 200'000; ++i) {
      // A value near a tie of the 16-bit grid, at every exponent: the middle of two neighbours plus or minus a little.
      const auto b = static_cast<uint16_t>(random() % 0x7F80);
      const double below = value_of(b, format.mantissa), above = value_of(b + 1, format.mantissa);
      if (!std::isfinite(below) || !std::isfinite(above)) continue;
      const double middle = (below + above) / 2;
      const double off[] = {0, 0x1p-52, -0x1p-52, 0x1p-30, -0x1p-30, 0.3, -0.3};
      const double d = (random() % 2 == 0 ? 1 : -1) * (middle + (above - below) * off[random() % 7]);
      ASSERT_EQ(cast_one<uint16_t>(DType::f64, d, format.dtype), nearest(d, format.mantissa)) << d;
      const auto f = static_cast<float>(d);
      ASSERT_EQ(cast_one<uint16_t>(DType::f32, f, format.dtype), nearest(f, format.mantissa)) << f;
    }
  }
}

TEST(Cast, TooLargeTooSmallAndNan) {
  for (const Format format : kFormats) {
    const uint16_t infinity = format.mantissa == 10 ? 0x7C00 : 0x7F80;
    EXPECT_EQ(cast_one<uint16_t>(DType::f64, 1e300, format.dtype), infinity);
    EXPECT_EQ(cast_one<uint16_t>(DType::f64, -1e300, format.dtype), infinity | 0x8000);
    EXPECT_EQ(cast_one<uint16_t>(DType::f64, 1e-300, format.dtype), 0);
    EXPECT_EQ(cast_one<uint16_t>(DType::f64, -1e-300, format.dtype), 0x8000);
    EXPECT_EQ(cast_one<uint16_t>(DType::f32, std::numeric_limits<float>::max(), format.dtype), infinity);
    // A NaN whose payload lies only in the bits that are cut must not become infinity.
    const auto nan = std::bit_cast<float>(0x7F800001u);
    EXPECT_TRUE(std::isnan(value_of(cast_one<uint16_t>(DType::f32, nan, format.dtype), format.mantissa)));
    EXPECT_TRUE(std::isnan(value_of(cast_one<uint16_t>(DType::f64, std::nan(""), format.dtype), format.mantissa)));
  }
  EXPECT_EQ(cast_one<uint16_t>(DType::f32, 65519.0f, DType::f16), 0x7BFF);
  EXPECT_EQ(cast_one<uint16_t>(DType::f32, 65520.0f, DType::f16), 0x7C00);
}

TEST(Cast, EightBitFloatsWiden) {
  EXPECT_EQ(cast_one<float>(DType::f8_e4m3, uint8_t{0x7E}, DType::f32), 448.0f);
  EXPECT_EQ(cast_one<float>(DType::f8_e4m3, uint8_t{0x38}, DType::f32), 1.0f);
  EXPECT_EQ(cast_one<float>(DType::f8_e4m3, uint8_t{0x81}, DType::f32), -0x1p-9f);
  EXPECT_TRUE(std::isnan(cast_one<float>(DType::f8_e4m3, uint8_t{0x7F}, DType::f32)));
  EXPECT_EQ(cast_one<float>(DType::f8_e5m2, uint8_t{0x7B}, DType::f32), 57344.0f);
  EXPECT_EQ(cast_one<float>(DType::f8_e5m2, uint8_t{0xFC}, DType::f32), -INFINITY);
  EXPECT_EQ(cast_one<float>(DType::f8_e5m2, uint8_t{0x01}, DType::f32), 0x1p-16f);
}

TEST(Cast, WhatCannotBeCastIsRefused) {
  EXPECT_FALSE(can_cast(DType::i32, DType::f32));
  EXPECT_FALSE(can_cast(DType::f32, DType::f8_e4m3));
  EXPECT_FALSE(can_cast(DType::q8_0, DType::f32));
  EXPECT_TRUE(can_cast(DType::i64, DType::i64));
  std::vector<std::byte> four(4), six(6);
  EXPECT_THROW(cast_elements(DType::i32, four, DType::f32, four), Error);
  EXPECT_THROW(cast_elements(DType::f32, four, DType::f16, six), Error);
}

}  // namespace
}  // namespace caravan::formats
