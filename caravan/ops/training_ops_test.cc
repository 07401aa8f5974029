// What training adds to the ops: fused losses, batched ragged attention, one-pass gradients; each against its plain
// twin.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <functional>

#include "caravan/base/error.h"
#include "caravan/ops/activation.h"
#include "caravan/ops/linear_cross_entropy.h"
#include "caravan/ops/packed_attention.h"
#include "caravan/ops/rms_norm.h"

namespace caravan::ops {
namespace {

struct Gradients {
  Tensor value;
  std::vector<Tensor> gradients;
};

// f's value and the gradients of a fixed random projection of it.
Gradients differentiate(std::vector<Tensor> inputs, const std::function<Tensor(const std::vector<Tensor>&)>& f) {
  for (Tensor& t : inputs) t = t.detach().clone().requires_grad_();
  const Tensor y = f(inputs);
  at::manual_seed(9);
  (y.to(at::kDouble) * at::randn(y.sizes(), at::kDouble)).sum().backward();
  Gradients result{y.detach(), {}};
  for (const Tensor& t : inputs) result.gradients.push_back(t.grad());
  return result;
}

void expect_close(const Tensor& a, const Tensor& b, double tolerance, const std::string& what) {
  ASSERT_EQ(a.sizes(), b.sizes()) << what;
  const double scale = std::max(1e-12, b.to(at::kDouble).abs().max().item<double>());
  EXPECT_LE((a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>(), tolerance * scale) << what;
}

void expect_same(const Gradients& a, const Gradients& b, double tolerance, const std::string& what) {
  expect_close(a.value, b.value, tolerance, what + ": value");
  for (size_t i = 0; i < a.gradients.size(); ++i)
    expect_close(a.gradients[i], b.gradients[i], tolerance, what + ": gradient " + std::to_string(i));
}

TEST(LinearCrossEntropy, EqualsTheLossOfAllLogitsAtOnce) {
  at::manual_seed(1);
  for (const auto& [rows, classes] : std::vector<std::pair<int64_t, int64_t>>{{1, 2}, {5, 33}, {200, 70}, {3, 20011}}) {
    for (const double smoothing : {0.0, 0.1}) {
      const Tensor hidden = at::randn({rows, 24}) * 2, weight = at::randn({classes, 24});
      const Tensor targets = at::randint(classes, {rows}, at::kLong);
      const auto fused = [&](const auto& x) { return linear_cross_entropy(x[0], x[1], targets, smoothing); };
      const auto plain = [&](const auto& x) { return reference::linear_cross_entropy(x[0], x[1], targets, smoothing); };
      const std::string what = fmt::format("[{}, {}] smoothing {}", rows, classes, smoothing);
      expect_same(differentiate({hidden, weight}, fused), differentiate({hidden, weight}, plain), 2e-5, what);
      const std::vector<Tensor> doubles = {hidden.to(at::kDouble), weight.to(at::kDouble)};
      expect_same(differentiate(doubles, fused), differentiate(doubles, plain), 1e-12, what + " in double");
      const std::vector<Tensor> narrow = {hidden.to(at::kBFloat16), weight.to(at::kBFloat16)};
      expect_same(differentiate(narrow, fused), differentiate(narrow, plain), 2e-2, what + " in bf16");
    }
  }
}

TEST(LinearCrossEntropy, TargetsMayLieApart) {
  at::manual_seed(2);
  const Tensor hidden = at::randn({6, 8}), weight = at::randn({9, 8}), pairs = at::randint(9, {6, 2}, at::kLong);
  const Tensor apart = pairs.select(1, 1);  // every second number
  EXPECT_TRUE(
      at::equal(linear_cross_entropy(hidden, weight, apart), linear_cross_entropy(hidden, weight, apart.contiguous())));
}

TEST(LinearCrossEntropy, WithoutGradientsTheLossIsTheSame) {
  at::manual_seed(3);
  const Tensor hidden = at::randn({7, 8}), weight = at::randn({9, 8}).requires_grad_();
  const Tensor targets = at::randint(9, {7}, at::kLong), watched = linear_cross_entropy(hidden, weight, targets);
  const torch::NoGradGuard no_grad;
  const Tensor alone = linear_cross_entropy(hidden, weight, targets);
  EXPECT_TRUE(at::equal(alone, watched.detach()));
  EXPECT_FALSE(alone.requires_grad());
}

TEST(LinearCrossEntropy, ExtremeLogitsStayFinite) {
  const Tensor hidden = at::tensor({1e4f, -1e4f, 0.0f}).unsqueeze(1),
               weight = at::tensor({1.0f, -1.0f, 0.5f}).unsqueeze(1);
  const Tensor targets = at::tensor({1, 0, 2}, at::kLong);
  const auto fused =
      differentiate({hidden, weight}, [&](const auto& x) { return linear_cross_entropy(x[0], x[1], targets); });
  const auto plain = differentiate({hidden, weight},
                                   [&](const auto& x) { return reference::linear_cross_entropy(x[0], x[1], targets); });
  expect_same(fused, plain, 1e-6, "extreme");
  EXPECT_THROW(linear_cross_entropy(hidden, weight, at::tensor({0, 0, 3}, at::kLong)), Error);
}

TEST(PackedAttention, EqualsAttentionOfEverySequenceAlone) {
  at::manual_seed(2);
  const std::vector<int64_t> starts = {0, 9, 17, 24, 26, 27, 60, 61};
  for (const auto& [width, dtype] :
       {std::pair(8, at::kFloat), {16, at::kFloat}, {80, at::kFloat}, {32, at::kBFloat16}}) {
    for (const int64_t window : {int64_t{0}, int64_t{4}}) {
      for (const int64_t kv_heads : {1, 2, 4}) {
        const auto made = [&, w = width, type = dtype](int64_t heads) { return at::randn({61, heads, w}).to(type); };
        const std::vector<Tensor> inputs = {made(4), made(kv_heads), made(kv_heads)};
        const AttentionSpec spec{.scale = 0.3, .window = window};
        const auto packed = [&](const auto& x) { return packed_attention(x[0], x[1], x[2], starts, spec); };
        const auto alone = [&](const auto& x) {
          std::vector<Tensor> outputs;
          for (size_t b = 0; b + 1 < starts.size(); ++b) {
            const auto part = [&](const Tensor& t) { return t.slice(0, starts[b], starts[b + 1]); };
            outputs.push_back(reference::attention(part(x[0]), part(x[1]), part(x[2]), spec));
          }
          return at::cat(outputs);
        };
        expect_same(differentiate(inputs, packed), differentiate(inputs, alone), dtype == at::kFloat ? 1e-5 : 3e-2,
                    fmt::format("{} {} {}", width, window, kv_heads));
      }
    }
  }
}

TEST(PackedAttention, ThreadsDoNotChangeABit) {
  at::manual_seed(5);
  std::vector<int64_t> starts = {0};
  for (int64_t b = 0; b < 30; ++b) starts.push_back(starts.back() + 1 + b * 7 % 40);
  const std::vector<Tensor> inputs = {at::randn({starts.back(), 4, 32}), at::randn({starts.back(), 2, 32}),
                                      at::randn({starts.back(), 2, 32})};
  const auto run = [&](const auto& x) { return packed_attention(x[0], x[1], x[2], starts, {.scale = 0.2}); };
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const auto one = differentiate(inputs, run);
  at::set_num_threads(2);
  const auto two = differentiate(inputs, run);
  at::set_num_threads(before);
  expect_same(one, two, 0.0, "threads");
}

TEST(PackedAttention, APrefixIsSeenByEveryTokenOfItsSequence) {
  at::manual_seed(4);
  const std::vector<int64_t> starts = {0, 9, 17, 24, 26, 27, 60, 61}, prefixes = {4, 8, 0, 1, 1, 30, 0};
  for (const int64_t window : {int64_t{0}, int64_t{4}}) {
    const std::vector<Tensor> inputs = {at::randn({61, 4, 8}), at::randn({61, 2, 8}), at::randn({61, 2, 8})};
    const AttentionSpec spec{.scale = 0.3, .window = window};
    const auto packed = [&](const auto& x) { return packed_attention(x[0], x[1], x[2], starts, spec, prefixes); };
    // Written out: a row of the mask at a time, in plain sums.
    const auto plain = [&](const auto& x) {
      std::vector<Tensor> outputs;
      for (size_t b = 0; b + 1 < starts.size(); ++b) {
        for (int64_t i = starts[b]; i < starts[b + 1]; ++i) {
          std::vector<int64_t> seen;
          for (int64_t j = starts[b]; j < starts[b + 1]; ++j) {
            const bool past = j <= i && (window == 0 || i - j < window);
            if (past || j - starts[b] < prefixes[b]) seen.push_back(j);
          }
          const Tensor rows = at::tensor(seen, at::kLong);
          const auto of = [&](const Tensor& t) {
            return t.index_select(0, rows).repeat_interleave(2, 1);
          };                                                                                 // [S, H, D]
          const Tensor p = at::softmax((of(x[1]) * x[0][i].unsqueeze(0)).sum(-1) * 0.3, 0);  // [S, H]
          outputs.push_back((p.unsqueeze(-1) * of(x[2])).sum(0));
        }
      }
      return at::stack(outputs);
    };
    expect_same(differentiate(inputs, packed), differentiate(inputs, plain), 3e-6, fmt::format("{}", window));
    const auto alone = [&](const auto& x) {
      std::vector<Tensor> outputs;
      for (size_t b = 0; b + 1 < starts.size(); ++b) {
        AttentionSpec own = spec;
        own.prefix = prefixes[b];
        const auto part = [&](const Tensor& t) { return t.slice(0, starts[b], starts[b + 1]); };
        outputs.push_back(b % 2 == 0 ? attention(part(x[0]), part(x[1]), part(x[2]), own)
                                     : reference::attention(part(x[0]), part(x[1]), part(x[2]), own));
      }
      return at::cat(outputs);
    };
    expect_same(differentiate(inputs, alone), differentiate(inputs, plain), 3e-6, fmt::format("{}", window));
  }
}

TEST(PackedAttention, GroupsCoverEverySequenceWithLittlePadding) {
  std::vector<int64_t> starts = {0};
  for (int64_t length = 64; length >= 1; --length) starts.push_back(starts.back() + length);
  int64_t next = 0, padded = 0;
  const auto groups = group_by_length(starts);
  for (const SequenceGroup& g : groups) {
    EXPECT_EQ(g.first, next);
    next = g.last;
    padded += (g.last - g.first) * g.longest;
  }
  EXPECT_EQ(next, 64);
  EXPECT_LT(padded, starts.back() * 5 / 4);
  EXPECT_LT(groups.size(), 20u);
}

TEST(RmsNorm, GradientInOnePassEqualsTheTwins) {
  at::manual_seed(3);
  for (const int64_t rows : {1, 127, 128, 300}) {
    const std::vector<Tensor> inputs = {at::randn({rows, 40}) * 3, at::rand({40}) + 0.5};
    const auto fused = [](const auto& x) { return rms_norm(x[0], x[1], 1e-5); };
    const auto plain = [](const auto& x) { return reference::rms_norm(x[0], x[1], 1e-5); };
    expect_same(differentiate(inputs, fused), differentiate(inputs, plain), 3e-6, std::to_string(rows));
    const std::vector<Tensor> narrow = {inputs[0].to(at::kBFloat16), inputs[1].to(at::kBFloat16)};
    expect_same(differentiate(narrow, fused), differentiate(narrow, plain), 2e-2, std::to_string(rows) + " bf16");
  }
}

TEST(Gated, SwigluGradientInOnePassEqualsTheTwins) {
  at::manual_seed(4);
  const std::vector<Tensor> inputs = {at::randn({130, 77}) * 8, at::randn({130, 77})};
  const auto fused = [](const auto& x) { return gated(x[0], x[1], Activation::silu); };
  const auto plain = [](const auto& x) { return reference::gated(x[0], x[1], Activation::silu); };
  expect_same(differentiate(inputs, fused), differentiate(inputs, plain), 2e-6, "fp32");
  const std::vector<Tensor> narrow = {inputs[0].to(at::kBFloat16), inputs[1].to(at::kBFloat16)};
  expect_same(differentiate(narrow, fused), differentiate(narrow, plain), 2e-2, "bf16");
}

}  // namespace
}  // namespace caravan::ops
