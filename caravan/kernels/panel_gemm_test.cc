// Every instruction set's product against a naive loop in double, and its promise: bits that do not depend on the other
// rows or the other panels.
#include "caravan/kernels/panel_gemm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <vector>

#include "caravan/kernels/available_tables.h"

namespace caravan::kernels {
namespace {

class PanelGemm : public testing::TestWithParam<const Table*> {};

std::vector<float> random_floats(int64_t n, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(n));
  for (float& x : values) x = normal(random);
  return values;
}

TEST_P(PanelGemm, MatchesANaiveLoopAndRowsStandAlone) {
  std::mt19937 random(5);
  const PanelTable& table = *panel_table(GetParam()->isa);
  for (const int64_t n : {1, 15, 16, 17, 31, 32, 33, 80}) {
    for (const int64_t width : {1, 7, 64, 300}) {
      const auto w = random_floats(n * width, random);
      std::vector<float> panels(static_cast<size_t>(panel_count(n) * kPanelRows * width));
      pack_panels(w.data(), n, width, 0, panel_count(n), panels.data());
      for (const int64_t m : {1, 2, 5, 11, 12, 13, 25, 700}) {
        if (m == 700 && width != 300) continue;  // more inputs than a block
        const int64_t x_stride = width + 3, y_stride = n + 2;
        const auto x = random_floats(m * x_stride, random);
        std::vector<float> y(static_cast<size_t>(m * y_stride), 2.0f);
        const PanelProduct all{x.data(), m,        width, x_stride, panels.data(), n,
                               y.data(), y_stride, false, 0,        panel_count(n)};
        table.multiply(all);
        auto added = y;
        PanelProduct more = all;
        more.y = added.data();
        more.add = true;
        table.multiply(more);
        for (int64_t i = 0; i<m; i += m> 100 ? 97 : 1) {
          std::vector<float> alone(static_cast<size_t>(n));
          for (int64_t p = 0; p < panel_count(n); ++p)
            table.multiply(
                {x.data() + i * x_stride, 1, width, x_stride, panels.data(), n, alone.data(), n, false, p, p + 1});
          for (int64_t j = 0; j < n; ++j) {
            double sum = 0;
            for (int64_t k = 0; k < width; ++k) sum += double(x[i * x_stride + k]) * w[j * width + k];
            const float got = y[i * y_stride + j];
            ASSERT_NEAR(got, sum, 1e-4) << m << " " << n << " " << width;
            ASSERT_EQ(got, alone[j]);
            ASSERT_EQ(added[i * y_stride + j], got + got);
          }
          ASSERT_EQ(y[i * y_stride + n], 2.0f);  // nothing is written behind a row
        }
      }
    }
  }
}

// Both factors in both orders, C as it is shared out or whole: the same bits.
TEST_P(PanelGemm, ProductsOfFactorsThatLieEitherWay) {
  std::mt19937 random(6);
  const PanelTable& table = *panel_table(GetParam()->isa);
  std::vector<float> scratch(kGemmScratch);
  for (const auto& [m, n, depth] : {std::array<int64_t, 3>{1, 1, 1}, {13, 33, 7}, {30, 70, 600}, {200, 300, 40}}) {
    const auto a = random_floats(m * depth, random), b = random_floats(depth * n, random);
    for (const bool a_across : {false, true}) {
      for (const bool b_across : {false, true}) {
        std::vector<float> c(static_cast<size_t>(m * n), 1.0f), parts = c;
        Gemm gemm{.a = a.data(),
                  .a_stride = a_across ? m : depth,
                  .a_transposed = a_across,
                  .b = b.data(),
                  .b_stride = b_across ? depth : n,
                  .b_transposed = b_across,
                  .c = c.data(),
                  .c_stride = n,
                  .depth = depth,
                  .add = true,
                  .first_row = 0,
                  .last_row = m,
                  .first_column = 0,
                  .last_column = n,
                  .scratch = scratch.data()};
        table.gemm(gemm);
        gemm.c = parts.data();
        for (int64_t i = 0; i < m; i += 12) {
          for (int64_t j = 0; j < n; j += 64) {
            gemm.first_row = i, gemm.last_row = std::min(m, i + 12);
            gemm.first_column = j, gemm.last_column = std::min(n, j + 64);
            table.gemm(gemm);
          }
        }
        ASSERT_EQ(c, parts) << m << " " << n << " " << depth;
        for (int64_t i = 0; i < m; ++i) {
          for (int64_t j = 0; j < n; ++j) {
            double sum = 1;
            for (int64_t k = 0; k < depth; ++k)
              sum += double(a[a_across ? k * m + i : i * depth + k]) * b[b_across ? j * depth + k : k * n + j];
            ASSERT_NEAR(c[i * n + j], sum, 1e-4) << a_across << b_across << " " << m << " " << n << " " << depth;
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, PanelGemm, testing::ValuesIn(available_tables()),
                         [](const auto& info) { return std::string(info.param->isa); });

}  // namespace
}  // namespace caravan::kernels
