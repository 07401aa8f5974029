// Products with block-quantized weights against the dequantized weight in double, for every type, on every instruction
// set of this machine, at one block and several, one input to five, with guards behind the outputs.
#include "caravan/kernels/block_gemv.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "caravan/kernels/available_tables.h"
#include "caravan/kernels/dequantize.h"

namespace caravan::kernels {
namespace {

struct BlockType {
  const char* name;
  BlockGemv BlockTable::*gemv;
  DequantizeKernel dequantize;
  int64_t elements, bytes;
  std::vector<int> halves;  // where a block's half-precision numbers lie: random bits there could be infinities
};

const std::vector<BlockType> kTypes = {
    {"q4_0", &BlockTable::q4_0, dequantize_q4_0, 32, 18, {0}},
    {"q4_1", &BlockTable::q4_1, dequantize_q4_1, 32, 20, {0, 2}},
    {"q5_0", &BlockTable::q5_0, dequantize_q5_0, 32, 22, {0}},
    {"q5_1", &BlockTable::q5_1, dequantize_q5_1, 32, 24, {0, 2}},
    {"q8_0", &BlockTable::q8_0, dequantize_q8_0, 32, 34, {0}},
    {"q2_k", &BlockTable::q2_k, dequantize_q2_k, 256, 84, {80, 82}},
    {"q3_k", &BlockTable::q3_k, dequantize_q3_k, 256, 110, {108}},
    {"q4_k", &BlockTable::q4_k, dequantize_q4_k, 256, 144, {0, 2}},
    {"q5_k", &BlockTable::q5_k, dequantize_q5_k, 256, 176, {0, 2}},
    {"q6_k", &BlockTable::q6_k, dequantize_q6_k, 256, 210, {208}},
    {"iq4_nl", &BlockTable::iq4_nl, dequantize_iq4_nl, 32, 18, {0}},
    {"iq4_xs", &BlockTable::iq4_xs, dequantize_iq4_xs, 256, 136, {0}},
};

class BlockProduct : public testing::TestWithParam<const Table*> {
 protected:
  // Random blocks; every half between 2^-9 and 2^-8 in size, of either sign.
  std::vector<uint8_t> random_rows(const BlockType& type, int64_t blocks) {
    std::vector<uint8_t> bytes(static_cast<size_t>(blocks * type.bytes) + 1);
    for (uint8_t& b : bytes) b = static_cast<uint8_t>(generator());
    for (int64_t i = 0; i < blocks; ++i) {
      for (int at : type.halves) {
        uint8_t& upper = bytes[static_cast<size_t>(1 + i * type.bytes + at + 1)];
        upper = static_cast<uint8_t>((upper & 0x83) | 0x18);
      }
    }
    return bytes;  // the first byte is skipped: odd addresses
  }
  std::mt19937 generator{5};
};

TEST_P(BlockProduct, IsThatOfTheDequantizedWeight) {
  constexpr int64_t kRows = 3, kStride = 4;
  constexpr float kGuard = 1234.5f;
  std::normal_distribution<float> normal;
  for (const BlockType& type : kTypes) {
    for (const int64_t blocks : {0, 1, 2, 5}) {
      const int64_t width = blocks * type.elements;
      const std::vector<uint8_t> rows = random_rows(type, kRows * blocks);
      std::vector<float> weight(static_cast<size_t>(kRows * width));
      type.dequantize(reinterpret_cast<const std::byte*>(rows.data() + 1), weight.data(), kRows * width);
      for (int64_t m = 1; m <= 5; ++m) {
        std::vector<float> x(static_cast<size_t>(m * width)), y(static_cast<size_t>(m * kStride), kGuard);
        for (float& v : x) v = normal(generator);
        (GetParam()->blocks->*type.gemv)(rows.data() + 1, x.data(), y.data(), kRows, width, m, kStride);
        for (int64_t i = 0; i < m; ++i) {
          for (int64_t r = 0; r < kRows; ++r) {
            double sum = 0, size = 0;
            for (int64_t j = 0; j < width; ++j) {
              const double term = double(weight[r * width + j]) * x[i * width + j];
              sum += term;
              size += std::abs(term);
            }
            ASSERT_NEAR(y[i * kStride + r], sum, 2e-6 * size) << type.name << " blocks " << blocks << " inputs " << m;
          }
          ASSERT_EQ(y[i * kStride + kRows], kGuard) << type.name;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, BlockProduct, testing::ValuesIn(available_tables()),
                         [](const auto& info) { return std::string(info.param->isa); });

}  // namespace
}  // namespace caravan::kernels
