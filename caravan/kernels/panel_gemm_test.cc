// Every instruction set's product against a naive loop in double, and its promise: bits that do not depend on the other
// rows or the other panels.
#include "caravan/kernels/panel_gemm.h"

#include <gtest/gtest.h>

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

INSTANTIATE_TEST_SUITE_P(InstructionSets, PanelGemm, testing::ValuesIn(available_tables()),
                         [](const auto& info) { return std::string(info.param->isa); });

}  // namespace
}  // namespace caravan::kernels
