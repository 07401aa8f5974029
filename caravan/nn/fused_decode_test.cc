// The fused decoder layer against the plain one, bit for bit: the plain path runs where an observer watches.
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
};

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

// Hidden states of a few steps over two or more sequences of different lengths.
std::vector<Tensor> run(DecoderLayer& layer, const Case& c, int64_t sequences, bool watched) {
  const torch::InferenceMode guard;
  at::manual_seed(3);
  KvCache cache({.layers = 1, .kv_heads = c.attention.num_kv_heads, .head_dim = c.attention.head_dim, .page_tokens = 4},
                at::kFloat);
  std::vector<CacheSequence> held;
  for (int64_t b = 0; b < sequences; ++b) held.push_back(cache.new_sequence());
  FiniteCheck check;
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
    const Tensor x = at::randn({step.tokens(), c.attention.hidden_size});
    Observer* before = watched ? set_observer(&check) : nullptr;
    EXPECT_EQ(can_decode_fused(layer, x, step), !watched) << c.name;
    outputs.push_back(layer(x, step));
    if (watched) set_observer(before);
  }
  return outputs;
}

TEST(FusedDecode, GivesTheBitsOfThePlainLayer) {
  const AttentionConfig plain{.hidden_size = 64, .num_heads = 4, .num_kv_heads = 2, .head_dim = 16};
  AttentionConfig biased = plain, windowed = plain, normed = plain, wide = plain;
  biased.qkv_bias = biased.output_bias = true;
  windowed.sliding_window = 5;
  normed.qk_norm_eps = 1e-6;
  wide.num_kv_heads = 4, wide.head_dim = 32;
  const std::vector<Case> cases = {{"plain", plain},
                                   {"biases", biased, true},
                                   {"window", windowed},
                                   {"q/k norms", normed},
                                   {"wide heads", wide},
                                   {"blocks", plain, false, true},
                                   {"blocks, biases", biased, true, true}};
  for (const Case& c : cases) {
    DecoderLayer layer({.attention = c.attention, .intermediate_size = 96, .mlp_bias = c.mlp_bias}, 0);
    initialize(layer, {.std = 0.2, .seed = 1});
    for (const NamedParameter& p : layer.named_parameters()) {
      if (p.parameter->shape.size() == 1) p.parameter->value.normal_(1.0, 0.3);
    }
    if (c.blocks) fill_with_blocks(layer);
    for (const int64_t sequences : {1, 2, 5}) {
      if (sequences > 2 && !c.blocks) continue;  // dense products of more rows are libtorch's
      const auto fused = run(layer, c, sequences, false), watched = run(layer, c, sequences, true);
      for (size_t i = 0; i < fused.size(); ++i) {
        EXPECT_TRUE(at::equal(fused[i], watched[i])) << c.name << ", " << sequences << " sequences, step " << i;
      }
    }
  }
}

TEST(FusedDecode, ThreadsChangeNoBit) {
  const Case c{"blocks", {.hidden_size = 64, .num_heads = 4, .num_kv_heads = 2, .head_dim = 16}, false, true};
  DecoderLayer layer({.attention = c.attention, .intermediate_size = 96}, 0);
  initialize(layer, {.std = 0.2, .seed = 1});
  fill_with_blocks(layer);
  const int before = at::get_num_threads();
  std::vector<std::vector<Tensor>> all;
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    all.push_back(run(layer, c, 3, false));
  }
  at::set_num_threads(before);
  for (size_t i = 0; i < all[0].size(); ++i) {
    EXPECT_TRUE(at::equal(all[0][i], all[1][i]));
    EXPECT_TRUE(at::equal(all[0][i], all[2][i]));
  }
}

}  // namespace
}  // namespace caravan::nn
