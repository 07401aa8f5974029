// Products with packed weights against the dequantized weight in double, for every type, on every instruction set of
// this machine: one group and several, rows that fill no tile, one input to nine, with guards behind the outputs.
#include "caravan/kernels/packed.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "caravan/kernels/available_tables.h"
#include "caravan/kernels/dequantize.h"

namespace caravan::kernels {
namespace {

struct BlockType {
  PackedIndex index;
  DequantizeKernel dequantize;
  std::vector<int> halves;  // where a block's half-precision numbers lie: random bits there could be infinities
};

const std::vector<BlockType> kTypes = {
    {PackedIndex::q4_0, dequantize_q4_0, {0}},     {PackedIndex::q4_1, dequantize_q4_1, {0, 2}},
    {PackedIndex::q5_0, dequantize_q5_0, {0}},     {PackedIndex::q5_1, dequantize_q5_1, {0, 2}},
    {PackedIndex::q8_0, dequantize_q8_0, {0}},     {PackedIndex::q2_k, dequantize_q2_k, {80, 82}},
    {PackedIndex::q3_k, dequantize_q3_k, {108}},   {PackedIndex::q4_k, dequantize_q4_k, {0, 2}},
    {PackedIndex::q5_k, dequantize_q5_k, {0, 2}},  {PackedIndex::q6_k, dequantize_q6_k, {208}},
    {PackedIndex::iq4_nl, dequantize_iq4_nl, {0}}, {PackedIndex::iq4_xs, dequantize_iq4_xs, {0}},
};

class PackedProduct : public testing::TestWithParam<const Table*> {
 protected:
  // Random blocks; every half between 2^-9 and 2^-8 in size, of either sign.
  std::vector<uint8_t> random_blocks(const BlockType& type, int64_t blocks) {
    const int64_t bytes = packed_type(type.index).block_bytes;
    std::vector<uint8_t> out(static_cast<size_t>(blocks * bytes));
    for (uint8_t& b : out) b = static_cast<uint8_t>(generator());
    for (int64_t i = 0; i < blocks; ++i) {
      for (int at : type.halves) {
        uint8_t& upper = out[static_cast<size_t>(i * bytes + at + 1)];
        upper = static_cast<uint8_t>((upper & 0x83) | 0x18);
      }
    }
    return out;
  }

  std::vector<InputGroup> quantized(const std::vector<float>& x) {
    std::vector<InputGroup> groups(x.size() / kGroupColumns);
    GetParam()->packed->quantize(x.data(), groups.data(), static_cast<int64_t>(groups.size()));
    return groups;
  }

  std::vector<uint8_t> packed(const PackedType& type, const std::vector<uint8_t>& blocks, int64_t rows, int64_t width) {
    std::vector<uint8_t> tiles(static_cast<size_t>(packed_bytes(type, rows, width)), 0xee);
    pack_tiles(type, blocks.data(), tiles.data(), {rows, width, 0, tile_count(rows)});
    return tiles;
  }

  void multiply(const PackedType& type, const std::vector<uint8_t>& tiles, const std::vector<InputGroup>& x, float* y,
                const PackedShape& shape) {
    GetParam()->packed->multiply[static_cast<size_t>(type.index)](tiles.data(), x.data(), y, shape);
  }

  std::mt19937 generator{5};
};

TEST_P(PackedProduct, IsThatOfTheDequantizedWeight) {
  constexpr float kGuard = 1234.5f;
  std::normal_distribution<float> normal;
  for (const BlockType& block_type : kTypes) {
    const PackedType& type = packed_type(block_type.index);
    for (const int64_t rows : {1, 15, 16, 35}) {
      for (const int64_t blocks : {1, 2, 5}) {
        const int64_t width = blocks * type.block_elements, stride = rows + 1;
        const std::vector<uint8_t> bytes = random_blocks(block_type, rows * blocks);
        std::vector<float> weight(static_cast<size_t>(rows * width));
        block_type.dequantize(reinterpret_cast<const std::byte*>(bytes.data()), weight.data(), rows * width);
        const std::vector<uint8_t> tiles = packed(type, bytes, rows, width);
        for (int64_t m = 1; m <= 9; ++m) {
          std::vector<float> x(static_cast<size_t>(m * width)), y(static_cast<size_t>(m * stride), kGuard);
          for (float& v : x) v = normal(generator);
          multiply(type, tiles, quantized(x), y.data(), {rows, width, m, stride});
          for (int64_t i = 0; i < m; ++i) {
            for (int64_t r = 0; r < rows; ++r) {
              double sum = 0, allowed = 0;
              for (int64_t j = 0; j < width; ++j) {
                const double w = weight[r * width + j];
                sum += w * x[i * width + j];
                // Half a step of a group whose largest input is 4, and the rounding of the float sums.
                allowed += std::abs(w) * (0.5 * 4.5 / 32512 + 1e-6 * std::abs(x[i * width + j]));
              }
              ASSERT_NEAR(y[i * stride + r], sum, allowed + 2e-4)
                  << type.name << " rows " << rows << " width " << width;
            }
            ASSERT_EQ(y[i * stride + rows], kGuard) << type.name;
          }
        }
      }
    }
  }
}

// What shares a batch changes no bit: sums run in the same order whatever the number of inputs.
TEST_P(PackedProduct, DoesNotDependOnItsNeighbours) {
  constexpr int64_t kRows = 52, kWidth = 512, kInputs = 7;
  std::normal_distribution<float> normal;
  for (const BlockType& block_type : kTypes) {
    const PackedType& type = packed_type(block_type.index);
    const std::vector<uint8_t> bytes = random_blocks(block_type, kRows * kWidth / type.block_elements);
    const std::vector<uint8_t> tiles = packed(type, bytes, kRows, kWidth);
    std::vector<float> x(kInputs * kWidth), together(kInputs * kRows), alone(kRows);
    for (float& v : x) v = normal(generator);
    multiply(type, tiles, quantized(x), together.data(), {kRows, kWidth, kInputs, kRows});
    for (int64_t i = 0; i < kInputs; ++i) {
      const std::vector<float> one(x.begin() + i * kWidth, x.begin() + (i + 1) * kWidth);
      multiply(type, tiles, quantized(one), alone.data(), {kRows, kWidth, 1, kRows});
      for (int64_t r = 0; r < kRows; ++r) ASSERT_EQ(alone[r], together[i * kRows + r]) << type.name;
    }
  }
}

TEST_P(PackedProduct, InputsAreRoundedTheSameEverywhere) {
  std::normal_distribution<float> normal;
  std::vector<float> x(40 * kGroupColumns);
  for (size_t i = 0; i < x.size(); ++i) x[i] = std::ldexp(normal(generator), static_cast<int>(i / kGroupColumns) - 20);
  x[0] = 1.0f, x[1] = -1.0f, x[2] = 0.0f;  // a group with halves
  for (size_t i = 3; i < 32; ++i) x[i] = (static_cast<float>(i) + 0.5f) / 32512 * (i % 2 == 0 ? 1.0f : -1.0f);
  const std::vector<InputGroup> groups = quantized(x);
  for (size_t g = 0; g < groups.size(); ++g) {
    const float* from = x.data() + g * kGroupColumns;
    float largest = 0;
    for (int64_t i = 0; i < kGroupColumns; ++i) largest = std::max(largest, std::abs(from[i]));
    int32_t sums[2] = {0, 0};
    for (int64_t i = 0; i < kGroupColumns; ++i)
      sums[i / 16] += static_cast<int32_t>(std::round(from[i] * (32512.0f / largest)));
    ASSERT_EQ(groups[g].scale, largest / 32512.0f);
    ASSERT_EQ(groups[g].sums[0], sums[0]) << g;
    ASSERT_EQ(groups[g].sums[1], sums[1]) << g;
  }
}

TEST_P(PackedProduct, OddInputs) {
  const PackedType& type = packed_type(PackedIndex::q8_0);
  const std::vector<uint8_t> bytes = random_blocks(kTypes[4], 2);
  const std::vector<uint8_t> tiles = packed(type, bytes, 1, 64);
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const auto product = [&](std::vector<float> x) {
    float y = 1;
    multiply(type, tiles, quantized(x), &y, {1, 64, 1, 1});
    return y;
  };
  std::vector<float> x(64, 0.0f);
  EXPECT_EQ(product(x), 0.0f);
  for (const float tiny : {1e-45f, 1e-38f, 9e-31f}) EXPECT_LT(std::abs(product(std::vector<float>(64, tiny))), 1e-25f);
  EXPECT_TRUE(std::isfinite(product(std::vector<float>(64, 1e30f))));
  for (const float bad : {nan, -nan, infinity, -infinity}) {
    x[40] = bad;
    EXPECT_TRUE(std::isnan(product(x))) << bad;
  }
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, PackedProduct, testing::ValuesIn(available_tables()),
                         [](const auto& info) { return std::string(info.param->isa); });

TEST(PackedTypes, AreFoundByName) {
  EXPECT_EQ(packed_type("q6_k")->index, PackedIndex::q6_k);
  EXPECT_EQ(packed_type("f16"), nullptr);
  for (size_t i = 0; i < kPackedTypes; ++i) {
    EXPECT_EQ(static_cast<size_t>(packed_type(static_cast<PackedIndex>(i)).index), i);
  }
}

}  // namespace
}  // namespace caravan::kernels
