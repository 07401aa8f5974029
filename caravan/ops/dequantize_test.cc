#include "caravan/ops/dequantize.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <vector>

#include "caravan/base/error.h"

namespace caravan::ops {
namespace {

TEST(Dequantize, EveryFloatAndBlockTypeHasAKernelOfItsOwnBlockSize) {
  for (int i = 0; i <= static_cast<int>(DType::iq4_xs); ++i) {
    const auto dtype = static_cast<DType>(i);
    const bool wanted = is_block_quantized(dtype) || dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16;
    ASSERT_EQ(can_dequantize(dtype), wanted) << to_string(dtype);
    if (!wanted) {
      EXPECT_THROW(dequantize(dtype, nullptr, nullptr, 0), Error) << to_string(dtype);
      continue;
    }
    // Two blocks of zero bytes: finite values everywhere, and nothing written behind them.
    const DTypeInfo& info = dtype_info(dtype);
    const std::vector<std::byte> blocks(static_cast<size_t>(2 * info.block_bytes));
    std::vector<float> out(static_cast<size_t>(2 * info.block_size + 1), 5.0f);
    dequantize(dtype, blocks.data(), out.data(), 2 * info.block_size);
    for (size_t k = 0; k + 1 < out.size(); ++k) ASSERT_EQ(out[k], 0.0f) << info.name << " element " << k;
    EXPECT_EQ(out.back(), 5.0f) << info.name;
  }
}

TEST(Dequantize, HalfABlockIsRefused) {
  const std::array<std::byte, 64> bytes{};
  std::array<float, 64> out;
  EXPECT_THROW(dequantize(DType::q8_0, bytes.data(), out.data(), 31), Error);
  EXPECT_THROW(dequantize(DType::q8_0, bytes.data(), out.data(), -32), Error);
  EXPECT_NO_THROW(dequantize(DType::q8_0, bytes.data(), out.data(), 32));
}

TEST(Dequantize, ReadsKnownValues) {
  const std::array<float, 2> f32 = {1.5f, -3.0f};
  const std::array<uint16_t, 2> f16 = {0x3e00, 0xc200}, bf16 = {0x3fc0, 0xc040};
  std::array<float, 2> out;
  dequantize(DType::f32, std::as_bytes(std::span(f32)).data(), out.data(), 2);
  EXPECT_EQ(out, f32);
  dequantize(DType::f16, std::as_bytes(std::span(f16)).data(), out.data(), 2);
  EXPECT_EQ(out, f32);
  dequantize(DType::bf16, std::as_bytes(std::span(bf16)).data(), out.data(), 2);
  EXPECT_EQ(out, f32);
}

}  // namespace
}  // namespace caravan::ops
