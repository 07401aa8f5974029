// Every fused op against its plain twin: values per dtype and odd widths, gradients in fp32 against the twin's in
// double.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <array>
#include <cmath>

#include "caravan/base/error.h"
#include "caravan/ops/activation.h"
#include "caravan/ops/attention.h"
#include "caravan/ops/cross_entropy.h"
#include "caravan/ops/linear.h"
#include "caravan/ops/rms_norm.h"
#include "caravan/ops/rotary.h"

namespace caravan::ops {
namespace {

double distance(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.sizes(), b.sizes());
  return a.numel() == 0 ? 0.0 : (a.detach().to(at::kDouble) - b.detach().to(at::kDouble)).abs().max().item<double>();
}

// One unit in the last place of bf16 relative to values around one.
constexpr double kBf16 = 2.0 / 128, kF32 = 2e-6;

double tolerance(at::ScalarType type) { return type == at::kFloat ? kF32 : kBf16; }

struct Random {
  Random() { torch::manual_seed(7); }
  Tensor operator()(at::IntArrayRef shape, at::ScalarType type = at::kFloat) const { return at::randn(shape).to(type); }
};

TEST(RmsNorm, MatchesItsTwinAtOddWidths) {
  const Random random;
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    for (const int64_t width : {1, 3, 15, 16, 17, 31, 33, 64, 127, 576}) {
      const Tensor x = random({5, width}, type), w = random({width}, type);
      EXPECT_LT(distance(rms_norm(x, w, 1e-5), reference::rms_norm(x, w, 1e-5)), 4 * tolerance(type)) << width;
    }
  }
  EXPECT_EQ(rms_norm(at::empty({0, 8}), at::ones({8}), 1e-5).numel(), 0);
  EXPECT_THROW(rms_norm(at::ones({2, 8}), at::ones({7}), 1e-5), Error);
}

// The gradients of f at fp32 inputs equal those of the twin g in double.
template <class F, class G>
void expect_gradients(const F& f, const G& g, const std::vector<Tensor>& inputs) {
  std::vector<Tensor> single, wide;
  for (const Tensor& x : inputs) {
    single.push_back(x.clone().requires_grad_());
    wide.push_back(x.to(at::kDouble).requires_grad_());
  }
  const Tensor y = f(single), z = g(wide), upstream = at::randn(y.sizes());
  const auto got = torch::autograd::grad({y}, single, {upstream}),
             want = torch::autograd::grad({z}, wide, {upstream.to(at::kDouble)});
  for (size_t i = 0; i < got.size(); ++i) EXPECT_LT(distance(got[i], want[i]), 1e-4) << "input " << i;
}

TEST(RmsNorm, GradientsMatchItsTwin) {
  const Random random;
  expect_gradients([](const auto& in) { return rms_norm(in[0], in[1], 1e-5); },
                   [](const auto& in) { return reference::rms_norm(in[0], in[1], 1e-5); },
                   {random({6, 19}), random({19})});
}

TEST(Rotate, MatchesItsTwinWithPartialWidths) {
  const Random random;
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    for (const int64_t rotary : {2, 6, 10}) {
      const Tensor x = random({7, 3, 10}, type), angle = random({7, rotary / 2});
      const Tensor both = at::cat({angle, angle}, -1), cos = both.cos().to(type), sin = both.sin().to(type);
      EXPECT_LT(distance(rotate(x, cos, sin), reference::rotate(x, cos, sin)), tolerance(type));
    }
  }
  const Tensor angle = random({7, 4}), both = at::cat({angle, angle}, -1);
  expect_gradients(
      [&](const auto& in) { return rotate(in[0], both.cos(), both.sin()); },
      [&](const auto& in) { return reference::rotate(in[0], both.to(at::kDouble).cos(), both.to(at::kDouble).sin()); },
      {random({7, 2, 10})});
}

TEST(Gated, MatchesItsTwin) {
  const Random random;
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const Tensor gate = random({9, 37}, type) * 5, up = random({9, 37}, type);
    EXPECT_LT(distance(gated(gate, up, Activation::silu), reference::gated(gate, up, Activation::silu)),
              10 * tolerance(type));
  }
  const Tensor extreme = at::tensor({-1000.0f, -100.0f, 0.0f, 100.0f, 1000.0f});
  EXPECT_TRUE(at::isfinite(gated(extreme, at::ones({5}), Activation::silu)).all().item<bool>());
  EXPECT_THROW(find_activation("soft", "config.json"), Error);
}

AttentionSpec spec_of(bool causal, int64_t window) { return {.scale = 0.3, .causal = causal, .window = window}; }

TEST(Attention, MatchesItsTwinOverMasksAndHeadGroups) {
  const Random random;
  for (const int64_t window : {0, 1, 3, 100}) {
    for (const bool causal : {true, false}) {
      for (const auto& [tq, tk] : std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {1, 9}, {5, 5}, {4, 9}}) {
        const Tensor q = random({tq, 6, 8}), k = random({tk, 2, 8}), v = random({tk, 2, 8});
        const AttentionSpec spec = spec_of(causal, window);
        EXPECT_LT(distance(attention(q, k, v, spec), reference::attention(q, k, v, spec)), kF32)
            << window << causal << tq << tk;
      }
    }
  }
  expect_gradients([](const auto& in) { return attention(in[0], in[1], in[2], spec_of(true, 3)); },
                   [](const auto& in) { return reference::attention(in[0], in[1], in[2], spec_of(true, 3)); },
                   {random({7, 4, 6}), random({7, 2, 6}), random({7, 2, 6})});
  EXPECT_THROW(attention(random({3, 4, 8}), random({2, 2, 8}), random({2, 2, 8}), spec_of(true, 0)), Error);
}

// A prompt read in pieces, each seeing what came before, as one read at once.
TEST(Attention, PiecesOfAPromptGiveItsBits) {
  const torch::InferenceMode guard;
  const Random random;
  const Tensor q = random({150, 6, 24}), k = random({150, 2, 24}), v = random({150, 2, 24});
  for (const int64_t window : {0, 70}) {
    const AttentionSpec spec = spec_of(true, window);
    const Tensor whole = attention(q, k, v, spec);
    EXPECT_LT(distance(whole, reference::attention(q, k, v, spec)), kF32);
    for (const auto& [begin, end] : std::vector<std::pair<int64_t, int64_t>>{{0, 64}, {64, 101}, {101, 150}}) {
      const Tensor piece = attention(q.slice(0, begin, end), k.slice(0, 0, end), v.slice(0, 0, end), spec);
      EXPECT_TRUE(at::equal(piece, whole.slice(0, begin, end))) << begin;
    }
  }
}

TEST(PagedAttention, MatchesTheTwinOnGatheredPages) {
  const Random random;
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    for (const int64_t window : {0, 5}) {
      const Tensor keys = random({6, 2, 4, 10}, type), values = random({6, 2, 4, 10}, type),
                   q = random({3, 6, 10}, type);
      const std::vector<std::vector<int32_t>> pages = {{5, 0, 2}, {1}, {3, 4}};
      const std::vector<std::span<const int32_t>> tables(pages.begin(), pages.end());
      const std::vector<int64_t> lengths = {11, 1, 8};
      const AttentionSpec spec = spec_of(true, window);
      const Tensor got = paged_attention(q, keys, values, tables, lengths, spec);
      for (size_t b = 0; b < 3; ++b) {
        const Tensor ids = at::tensor(at::ArrayRef<int32_t>(pages[b]), at::kInt);
        const auto flat = [&](const Tensor& storage) {
          return storage.index_select(0, ids).permute({0, 2, 1, 3}).reshape({-1, 2, 10}).slice(0, 0, lengths[b]);
        };
        const Tensor want = reference::attention(q.slice(0, b, b + 1), flat(keys), flat(values), spec);
        EXPECT_LT(distance(got[static_cast<int64_t>(b)], want[0]), 2 * tolerance(type));
      }
    }
  }
}

TEST(Linear, FewRowsEqualManyRows) {
  const Random random;
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    for (const int64_t width : {1, 7, 16, 31, 100}) {
      const Tensor x = random({6, width}, type), w = random({13, width}, type), b = random({13}, type);
      const Weight weight{
          .value = w, .dtype = type == at::kFloat ? DType::f32 : DType::bf16, .rows = 13, .columns = width};
      const Tensor want = at::linear(x.to(at::kDouble), w.to(at::kDouble), b.to(at::kDouble));
      const double scale = std::sqrt(static_cast<double>(width)) * 8;
      EXPECT_LT(distance(linear(x, weight, b), want), scale * tolerance(type));
      EXPECT_LT(distance(linear(x.slice(0, 0, 1), weight, b), want.slice(0, 0, 1)), scale * tolerance(type));
    }
  }
}

// A Q8_0 matrix: blocks of a half, 2^-7, and 32 integers.
Tensor q8_blocks(int64_t rows, int64_t columns) {
  Tensor blocks = at::randint(0, 256, {rows * columns / 32, 34}, at::kByte);
  blocks.select(1, 0).fill_(0x00);
  blocks.select(1, 1).fill_(0x20);
  return blocks.flatten();
}

TEST(Linear, PackedBlocksGiveTheDenseProductsAndGradients) {
  const Random random;
  for (const int64_t rows : {1, 16, 50}) {
    const Tensor blocks = q8_blocks(rows, 96);
    Weight weight{.value = blocks, .dtype = DType::q8_0, .rows = rows, .columns = 96};
    weight.packed = pack(weight);
    const Tensor w = dense(weight, at::kDouble), bias = random({rows}, at::kFloat);
    for (const int64_t m : {1, 3, 40}) {
      Tensor x = random({m, 96}, at::kFloat);
      const Tensor want = at::linear(x.to(at::kDouble), w, bias.to(at::kDouble));
      EXPECT_LT(distance(linear(x, weight, bias), want), 1.5e-3) << rows << " " << m;
      x.requires_grad_();
      const Tensor g = random({m, rows}, at::kFloat);
      linear(x, weight, bias).backward(g);
      EXPECT_LT(distance(x.grad(), at::mm(g.to(at::kDouble), w)), 1e-4) << rows << " " << m;
    }
  }
}

// Of no rows there are no products, whatever the weight is stored in.
TEST(Linear, NoRowsGiveNoRows) {
  const Tensor none, blocks = q8_blocks(16, 64), halves = at::ones({16, 64}, at::kHalf), floats = at::ones({16, 64});
  Weight quantized{.value = blocks, .dtype = DType::q8_0, .rows = 16, .columns = 64};
  quantized.packed = pack(quantized);
  const Weight half{.value = halves, .dtype = DType::f16, .rows = 16, .columns = 64, .packed = halves};
  const Weight dense{.value = floats, .dtype = DType::f32, .rows = 16, .columns = 64};
  for (const Weight& weight : {quantized, half, dense}) {
    EXPECT_EQ(linear(at::empty({0, 64}), weight, none).sizes(), at::IntArrayRef({0, 16})) << to_string(weight.dtype);
    EXPECT_EQ(linears(at::empty({0, 64}), std::array{weight}, std::array{none})[0].size(1), 16);
  }
}

TEST(Linear, OnePassOverSeveralWeightsGivesTheBitsOfSeveralPasses) {
  const Random random;
  const Tensor a = q8_blocks(50, 64), b = random({33, 64}, at::kFloat), none;
  Weight first{.value = a, .dtype = DType::q8_0, .rows = 50, .columns = 64};
  first.packed = pack(first);
  const Weight second{.value = b, .dtype = DType::f32, .rows = 33, .columns = 64};
  const Tensor bias = random({33}, at::kFloat);
  for (const int64_t m : {1, 2, 5}) {
    const Tensor x = random({m, 64}, at::kFloat);
    const auto both = linears(x, std::array{first, second}, std::array{none, bias});
    ASSERT_EQ(both.size(), 2u);
    EXPECT_TRUE(at::equal(both[0], linear(x, first, none)));
    EXPECT_TRUE(at::equal(both[1], linear(x, second, bias)));
  }
}

TEST(Embedding, RefusesIdsOutsideTheVocabulary) {
  const Tensor w = at::ones({4, 2});
  const Weight weight{.value = w, .dtype = DType::f32, .rows = 4, .columns = 2};
  EXPECT_EQ(embedding(at::tensor({0, 3}, at::kLong), weight).sum().item<float>(), 4.0f);
  EXPECT_THROW(embedding(at::tensor({4}, at::kLong), weight), Error);
  EXPECT_THROW(embedding(at::tensor({-1}, at::kLong), weight), Error);
}

TEST(CrossEntropy, IgnoresMarkedRowsAndRefusesWildLabels) {
  const Tensor logits = at::tensor({1.0f, 2.0f, 0.0f, 3.0f, 1.0f, 1.0f}).reshape({2, 3});
  const double row0 = std::log(std::exp(1.0) + std::exp(2.0) + 1.0) - 2.0;
  EXPECT_NEAR(cross_entropy(logits, at::tensor({1, -100}, at::kLong)).item<double>(), row0, 1e-6);
  EXPECT_NEAR(cross_entropy(logits, at::tensor({1, -100}, at::kLong), 4.0).item<double>(), row0 / 4, 1e-6);
  EXPECT_THROW(cross_entropy(logits, at::tensor({1, 3}, at::kLong)), Error);
  EXPECT_THROW(cross_entropy(logits, at::tensor({1, -1}, at::kLong)), Error);
}

}  // namespace
}  // namespace caravan::ops
