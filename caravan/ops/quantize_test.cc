#include "caravan/ops/quantize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "caravan/base/error.h"
#include "caravan/ops/dequantize.h"

namespace caravan::ops {
namespace {

// Every block type there and back, rows independent of their neighbours and of the threads that share them out.
TEST(Quantize, RowsGoThereAndBack) {
  constexpr int64_t kRows = 37, kColumns = 512;
  std::vector<float> values(kRows * kColumns);
  for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i) * 0.7f) * 0.1f;
  for (const DType dtype : {DType::q4_0, DType::q4_1, DType::q5_0, DType::q5_1, DType::q8_0, DType::q2_k, DType::q3_k,
                            DType::q4_k, DType::q5_k, DType::q6_k, DType::iq4_nl, DType::iq4_xs}) {
    ASSERT_TRUE(can_quantize(dtype));
    const int64_t row_bytes = kColumns / dtype_info(dtype).block_size * dtype_info(dtype).block_bytes;
    std::vector<std::byte> blocks(kRows * row_bytes), row(row_bytes);
    quantize_rows({dtype, kRows, kColumns}, values, {}, blocks.data());
    quantize_rows({dtype, 1, kColumns}, std::span(values).subspan(20 * kColumns, kColumns), {}, row.data());
    EXPECT_TRUE(std::equal(row.begin(), row.end(), blocks.begin() + 20 * row_bytes)) << to_string(dtype);
    std::vector<float> back(values.size());
    dequantize(dtype, blocks.data(), back.data(), kRows * kColumns);
    for (size_t i = 0; i < back.size(); ++i) ASSERT_NEAR(back[i], values[i], 0.05) << to_string(dtype);
  }
}

TEST(Quantize, RefusesWhatDoesNotFit) {
  std::vector<float> values(64);
  std::vector<std::byte> out(1000);
  EXPECT_FALSE(can_quantize(DType::f16));
  EXPECT_THROW(quantize_rows({DType::f16, 1, 64}, values, {}, out.data()), Error);
  EXPECT_THROW(quantize_rows({DType::q4_k, 1, 64}, values, {}, out.data()), Error);
  EXPECT_THROW(quantize_rows({DType::q4_0, 2, 64}, values, {}, out.data()), Error);
  EXPECT_THROW(quantize_rows({DType::q4_0, 1, 64}, values, std::span(values).first(32), out.data()), Error);
}

}  // namespace
}  // namespace caravan::ops
