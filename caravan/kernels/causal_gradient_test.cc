// The gradient of causal attention against naive loops in double, for every instruction set.
#include "caravan/kernels/causal_gradient.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "caravan/kernels/available_tables.h"

namespace caravan::kernels {
namespace {

using Doubles = std::vector<double>;

struct Problem {
  int64_t tokens, group, width, window;
  double scale = 0.3;
  std::vector<float> q, k, v, g;
  Doubles dq, dk, dv;

  Problem(int64_t t, int64_t heads, int64_t d, int64_t w) : tokens(t), group(heads), width(d), window(w) {
    std::mt19937 random(static_cast<uint32_t>(t * 100 + d));
    std::normal_distribution<float> normal;
    for (auto [list, n] : {std::pair(&q, t * heads * d), {&k, t * d}, {&v, t * d}, {&g, t * heads * d}}) {
      for (int64_t i = 0; i < n; ++i) list->push_back(normal(random));
    }
    dq.resize(q.size()), dk.resize(k.size()), dv.resize(v.size());
    for (int64_t i = 0; i < tokens; ++i) {
      for (int64_t h = 0; h < group; ++h) row(i, h);
    }
  }

  void row(int64_t i, int64_t h) {
    const float *query = &q[(i * group + h) * width], *out = &g[(i * group + h) * width];
    const int64_t first = window > 0 && i >= window ? i + 1 - window : 0;
    Doubles p, dp;
    double sum = 0, product = 0;
    for (int64_t j = first; j <= i; ++j) {
      double s = 0, d = 0;
      for (int64_t c = 0; c < width; ++c)
        s += double(query[c]) * k[j * width + c], d += double(out[c]) * v[j * width + c];
      p.push_back(std::exp(scale * s)), dp.push_back(d);
      sum += p.back();
    }
    for (size_t j = 0; j < p.size(); ++j) product += (p[j] /= sum) * dp[j];
    for (int64_t j = first; j <= i; ++j) {
      const double weight = p[j - first], ds = scale * weight * (dp[j - first] - product);
      for (int64_t c = 0; c < width; ++c) {
        dv[j * width + c] += weight * out[c];
        dk[j * width + c] += ds * query[c];
        dq[(i * group + h) * width + c] += ds * k[j * width + c];
      }
    }
  }
};

class CausalGradients : public testing::TestWithParam<const Table*> {};

TEST_P(CausalGradients, MatchNaiveLoops) {
  for (const int64_t tokens : {1, 3, 4, 17, 40, 70}) {
    for (const int64_t width : {16, 48, 64, 80}) {
      for (const auto& [group, window] : {std::pair<int64_t, int64_t>{1, 0}, {3, 0}, {2, 5}}) {
        const Problem problem(tokens, group, width, window);
        std::vector<float> kt(width * tree_stride(tokens)), vt(kt.size()), rows(tokens * width), other(tokens * width),
            scratch(causal_scratch(tokens, width)), dq(problem.q.size()), dk(tokens * width), dv(tokens * width);
        const TreeTable& tree = *tree_table(GetParam()->isa);
        tree.pack_f32(problem.v.data(), problem.v.data(), tokens, width, width, vt.data(), other.data());
        tree.pack_f32(problem.k.data(), problem.k.data(), tokens, width, width, kt.data(), rows.data());
        causal_table(GetParam()->isa)
            ->gradient_f32({problem.q.data(), problem.g.data(), dq.data(), group * width, kt.data(), vt.data(),
                            rows.data(), dk.data(), dv.data(), width, tokens, group, width, window, 0.3f,
                            scratch.data()});
        for (const auto& [got, want] : {std::pair(&dq, &problem.dq), {&dk, &problem.dk}, {&dv, &problem.dv}}) {
          for (size_t i = 0; i < got->size(); ++i)
            ASSERT_NEAR((*got)[i], (*want)[i], 2e-4) << tokens << " tokens, width " << width << ", window " << window;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, CausalGradients, testing::ValuesIn(available_tables()),
                         [](const auto& info) { return std::string(info.param->isa); });

}  // namespace
}  // namespace caravan::kernels
