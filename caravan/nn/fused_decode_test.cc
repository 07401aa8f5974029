// Fused decoder layers against plain ones, bit for bit.
#include "caravan/nn/fused_decode.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <string>
#include <vector>

#include "caravan/nn/decoder_layer.h"
#include "caravan/nn/observe.h"

namespace caravan::nn {
namespace {

struct Case {
  std::string name;
  AttentionConfig attention;
  bool mlp_bias = false;
  bool blocks = false;  // weights in Q8_0
  bool bf16 = false;    // weights from a file's bf16
  at::ScalarType cache = at::kFloat;
};

using Layers = ModuleList<DecoderLayer>;

void round_to_bf16(Module& module) {
  for (const NamedParameter& p : module.named_parameters()) {
    if (p.parameter->shape.size() != 2) continue;
    p.parameter->value = p.parameter->packed = p.parameter->value.to(at::kBFloat16);
    p.parameter->dtype = DType::bf16;
  }
}

void fill_with_blocks(Module& module) {
  for (const NamedParameter& p : module.named_parameters()) {
    if (p.parameter->shape.size() != 2) continue;
    Tensor blocks = at::randint(0, 256, {p.parameter->shape[0] * p.parameter->shape[1] / 32, 34}, at::kByte);
    blocks.select(1, 0).fill_(0x00);
    blocks.select(1, 1).fill_(0x10);  // a scale of 2^-11
    p.parameter->value = blocks.flatten();
    p.parameter->dtype = DType::q8_0;
    p.parameter->packed = ops::pack(view(*p.parameter));
  }
}

// Layers with random weights.
std::unique_ptr<Layers> make_layers(const Case& c) {
  auto layers = std::make_unique<Layers>();
  for (int64_t i = 0; i < 3; ++i)
    layers->emplace_back(DecoderLayerConfig{.attention = c.attention, .intermediate_size = 96, .mlp_bias = c.mlp_bias},
                         i);
  initialize(*layers, {.std = 0.2, .seed = 1});
  for (const NamedParameter& p : layers->named_parameters()) {
    if (p.parameter->shape.size() == 1) p.parameter->value.normal_(1.0, 0.3);
  }
  if (c.blocks) fill_with_blocks(*layers);
  if (c.bf16) round_to_bf16(*layers);
  return layers;
}

// Hidden states of a few steps over one or more sequences of different lengths.
std::vector<Tensor> run(Layers& layers, const Case& c, int64_t sequences, bool fused) {
  const torch::InferenceMode guard;
  at::manual_seed(3);
  KvCache cache({.layers = 3, .kv_heads = c.attention.num_kv_heads, .head_dim = c.attention.head_dim, .page_tokens = 4},
                c.cache);
  std::vector<CacheSequence> held;
  for (int64_t b = 0; b < sequences; ++b) held.push_back(cache.new_sequence());
  std::vector<Tensor> outputs;
  for (int64_t turn = 0; turn < 11; ++turn) {
    std::vector<CacheSequence*> running;
    for (int64_t b = 0; b < sequences; ++b) {
      if (turn >= b) running.push_back(&held[static_cast<size_t>(b)]);  // later ones join
    }
    Step step = Step::cached(cache, running, std::vector<int64_t>(running.size(), 1));
    const Tensor angles = at::rand({step.tokens(), c.attention.head_dim / 2}).repeat({1, 2});
    step.cos = angles.cos();
    step.sin = angles.sin();
    Tensor x = at::randn({step.tokens(), c.attention.hidden_size});
    if (fused) {
      x = decode_fused(layers, x, step);
      EXPECT_TRUE(x.defined()) << c.name;
      if (!x.defined()) break;
    } else {
      for (const auto& layer : layers) x = (*layer)(x, step);
    }
    outputs.push_back(x);
  }
  return outputs;
}

void expect_equal(const std::vector<Tensor>& a, const std::vector<Tensor>& b, const std::string& what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(at::equal(a[i], b[i])) << what << ", step " << i;
}

constexpr AttentionConfig kPlain{.hidden_size = 64, .num_heads = 4, .num_kv_heads = 2, .head_dim = 16};

TEST(FusedDecode, GivesTheBitsOfThePlainLayers) {
  AttentionConfig biased = kPlain, windowed = kPlain, normed = kPlain, wide = kPlain, odd = kPlain, three = kPlain;
  biased.qkv_bias = biased.output_bias = true;
  windowed.sliding_window = 5;
  normed.qk_norm_eps = 1e-6;
  wide.num_kv_heads = 4, wide.head_dim = 32;
  odd.head_dim = 24;  // heads that share a task's rows
  three.num_heads = 9, three.num_kv_heads = 3;
  const std::vector<Case> cases = {{"plain", kPlain},
                                   {"biases", biased, true},
                                   {"window", windowed},
                                   {"q/k norms", normed},
                                   {"wide heads", wide},
                                   {"odd heads", odd},
                                   {"three groups", three},
                                   {"blocks", kPlain, false, true},
                                   {"blocks, odd heads", odd, false, true},
                                   {"blocks, biases", biased, true, true},
                                   {"bf16", three, false, false, true},
                                   {"cache of bf16", normed, false, false, false, at::kBFloat16},
                                   {"cache of int8", odd, false, true, false, at::kChar}};
  for (const Case& c : cases) {
    const auto layers = make_layers(c);
    for (const int64_t sequences : {1, 2, 5})
      expect_equal(run(*layers, c, sequences, true), run(*layers, c, sequences, false), c.name);
  }
}

TEST(FusedDecode, ThreadsChangeNoBit) {
  const Case c{"blocks", kPlain, false, true};
  const auto layers = make_layers(c);
  const int before = at::get_num_threads();
  std::vector<std::vector<Tensor>> all;
  for (const int threads : {1, 2, 3, 7}) {
    at::set_num_threads(threads);
    all.push_back(run(*layers, c, 3, true));
  }
  at::set_num_threads(before);
  for (size_t i = 1; i < all.size(); ++i) expect_equal(all[0], all[i], "threads");
}

TEST(FusedDecode, LeavesToThePlainLayersWhatItCannotDo) {
  const torch::InferenceMode guard;
  const auto layers = make_layers({"plain", kPlain});
  KvCache cache({.layers = 3, .kv_heads = 2, .head_dim = 16}, at::kFloat);
  CacheSequence sequence = cache.new_sequence();
  Step step = Step::cached(cache, {&sequence}, std::vector<int64_t>{1});
  step.cos = step.sin = at::rand({1, 16});
  const Tensor x = at::randn({1, 64});
  EXPECT_TRUE(decode_fused(*layers, x, step).defined());
  {
    FiniteCheck check;
    const ScopedObserver watch(check);
    EXPECT_FALSE(decode_fused(*layers, x, step).defined());
  }
  EXPECT_FALSE(decode_fused(*layers, x.to(at::kBFloat16), step).defined());
  Step longer = Step::cached(cache, {&sequence}, std::vector<int64_t>{2});
  longer.cos = longer.sin = at::rand({2, 16});
  EXPECT_FALSE(decode_fused(*layers, at::randn({2, 64}), longer).defined());
  layers->train();
  EXPECT_FALSE(decode_fused(*layers, x, step).defined());
}

}  // namespace
}  // namespace caravan::nn
