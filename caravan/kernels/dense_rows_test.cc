// Every instruction set's product against a loop in double, and its promise: bits that depend neither on the other
// inputs nor on how rows were shared out.
#include "caravan/kernels/dense_rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "caravan/kernels/available_tables.h"
#include "caravan/kernels/half.h"

namespace caravan::kernels {
namespace {

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const Table* table : available_tables()) names.emplace_back(table->isa);
#if defined(__x86_64__)
  if (names.back() == "avx512" && __builtin_cpu_supports("avx512bf16")) names.emplace_back("avx512bf16");
#endif
  return names;
}

float from_bf16(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}

class DenseRowsProduct : public testing::TestWithParam<std::string> {
 protected:
  std::vector<float> random(int64_t n) {
    std::normal_distribution<float> normal;
    std::vector<float> values(static_cast<size_t>(n));
    for (float& x : values) x = normal(generator);
    return values;
  }
  std::vector<uint16_t> random_halves(int64_t n) {  // f16 of ordinary size, either sign
    std::vector<uint16_t> values(static_cast<size_t>(n));
    for (uint16_t& h : values) h = static_cast<uint16_t>((generator() & 0x83ff) | (14 + generator() % 3) << 10);
    return values;
  }
  std::vector<uint16_t> rounded(const std::vector<float>& x) {
    std::vector<uint16_t> values(x.size());
    const auto n = std::ssize(x);
    table.split_bf16(x.data(), values.data(), {1, n, 0, 1});
    return values;
  }

  // `multiply` against a loop in double over value(w) and value(x); inputs one by one, and rows in other shares, give
  // the same bits.
  template <class W, class X, class Multiply, class Split, class WeightValue, class InputValue>
  void check(Multiply multiply, Split split, const std::vector<W>& w, const std::vector<float>& x, int64_t rows,
             int64_t width, int64_t m, WeightValue weight, InputValue input) {
    std::vector<X> pieces(static_cast<size_t>(m * width + 1)), alone(static_cast<size_t>(width + 1));
    split(x.data(), pieces.data(), {m, width, 0, m / 2});
    split(x.data(), pieces.data(), {m, width, m / 2, m});
    const int64_t stride = rows + 2;
    std::vector<float> y(static_cast<size_t>(m * stride), 7.0f), one(static_cast<size_t>(rows));
    const int64_t middle = rows / 3;
    multiply(w.data(), pieces.data(), y.data(), {0, middle, width, m, stride});
    multiply(w.data(), pieces.data(), y.data(), {middle, rows, width, m, stride});
    for (int64_t i = 0; i < m; ++i) {
      split(x.data() + i * width, alone.data(), {1, width, 0, 1});
      multiply(w.data(), alone.data(), one.data(), {0, rows, width, 1, rows});
      for (int64_t r = 0; r < rows; ++r) {
        double sum = 0, size = 0;
        for (int64_t k = 0; k < width; ++k) {
          const double product = double(weight(w[r * width + k])) * input(x[i * width + k]);
          sum += product;
          size += std::abs(product);
        }
        ASSERT_NEAR(y[i * stride + r], sum, 1e-6 * size + 1e-30)
            << rows << " x " << width << ", input " << i << " of " << m;
        ASSERT_EQ(y[i * stride + r], one[r]) << rows << " x " << width << ", input " << i << " of " << m;
      }
      ASSERT_EQ(y[i * stride + rows], 7.0f);  // nothing is written behind a row
    }
  }

  std::mt19937 generator{23};
  const DenseRowsTable& table = *dense_rows_table(GetParam().c_str());
};

TEST_P(DenseRowsProduct, MatchesANaiveLoopAndInputsStandAlone) {
  struct Shape {
    int64_t rows, width, m;
  };
  std::vector<Shape> shapes;
  for (int64_t width = 0; width <= 67; ++width) shapes.push_back({5, width, 3});
  for (int64_t m : {1, 2, 4, 5, 6, 7, 12, 13, 29}) shapes.push_back({9, 100, m});
  for (int64_t rows : {1, 2, 3, 4, 8, 31}) shapes.push_back({rows, 70, 8});
  for (int64_t width : {768, 769, 800, 1536, 1537, 3100}) shapes.push_back({6, width, 7});  // one piece, and more
  shapes.push_back({7, 900, 400});                                                          // more than a chunk
  for (const auto& [rows, width, m] : shapes) {
    const auto x = random(m * width), w = random(rows * width);
    const auto same = [](float v) { return v; };
    check<float, float>(table.f32, table.split_f32, w, x, rows, width, m, same, same);
    check<uint16_t, float>(table.f16, table.split_f32, random_halves(rows * width), x, rows, width, m, half_to_float,
                           same);
    std::vector<uint16_t> halves = rounded(w);
    check<uint16_t, uint16_t>(table.bf16, table.split_bf16, halves, x, rows, width, m, from_bf16, [&](float v) {
      uint16_t half;
      table.split_bf16(&v, &half, {1, 1, 0, 1});
      return from_bf16(half);
    });
  }
}

TEST_P(DenseRowsProduct, RoundsInputsToTheNearestEven) {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> x = {1.0f, 1.00390625f, 1.01171875f, -1.00390625f, 3e38f, infinity, -0.0f, 1e-40f};
  const std::vector<uint16_t> expected = {0x3f80, 0x3f80, 0x3f82, 0xbf80, 0x7f62, 0x7f80, 0x8000, 0x0001};
  EXPECT_EQ(rounded(x), expected);
  EXPECT_TRUE(std::isnan(from_bf16(rounded({std::nanf("")})[0])));
}

TEST_P(DenseRowsProduct, ANotANumberStaysInItsInput) {
  std::vector<float> x(4 * 40, 1.0f), w(3 * 40, 1.0f), y(12);
  x[2 * 40 + 39] = std::nanf("");
  table.f32(w.data(), x.data(), y.data(), {0, 3, 40, 4, 3});
  for (int i = 0; i < 12; ++i) EXPECT_EQ(std::isnan(y[i]), i / 3 == 2) << i;
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, DenseRowsProduct, testing::ValuesIn(instruction_sets()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace caravan::kernels
