// Tree attention against its plain twin, for any number of threads.
#include "caravan/ops/tree_attention.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace caravan::ops {
namespace {

struct Tree {
  std::vector<int64_t> starts = {0, 1, 100, 137, 142};
  Tensor q, k, v;
  TreePrompts plain;
  TreeBranches branches;
  std::vector<Tensor> keys, values;
  std::vector<int64_t> paths;

  explicit Tree(at::ScalarType dtype) {
    torch::manual_seed(3);
    const auto made = [&](int64_t rows, int64_t heads) { return at::randn({rows, heads, 24}).to(dtype); };
    q = made(142, 6), k = made(142, 2), v = made(142, 2);
    plain = {.starts = starts, .kv_heads = 2, .width = 24, .keys = k, .values = v};
    branches.starts = {0, 70, 70, 71, 90};
    for (const int64_t rows : {8, 31, 90}) keys.push_back(made(rows, 2)), values.push_back(made(rows, 2));
    for (int64_t row = 0; row < 90; ++row) {
      for (const int64_t from : {row * 7 % 8, row * 5 % 31, row}) paths.push_back(from);
    }
    branches.keys = keys, branches.values = values, branches.paths = paths;
  }
};

void expect_close(const Tensor& a, const Tensor& b, double tolerance) {
  ASSERT_EQ(a.sizes(), b.sizes());
  EXPECT_LT((a.to(at::kFloat) - b.to(at::kFloat)).abs().max().item<double>(), tolerance);
}

TEST(TreeAttention, EqualsItsTwin) {
  const torch::InferenceMode guard;
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const Tree tree(dtype);
    const double tolerance = dtype == at::kFloat ? 1e-5 : 3e-2;
    const TreePrompts packed = pack_prompts(tree.k, tree.v, tree.starts);
    for (const AttentionSpec& spec : {AttentionSpec{.scale = 0.2}, AttentionSpec{.scale = 0.2, .window = 9},
                                      AttentionSpec{.scale = 0.2, .causal = false}}) {
      expect_close(prompt_attention(tree.q, packed, {}, spec),
                   reference::prompt_attention(tree.q, tree.plain, {}, spec), tolerance);
      const std::vector<int64_t> rows = {0, 50, 99, 136, 140, 141};
      const Tensor some = tree.q.index_select(0, at::tensor(rows, at::kLong));
      const Tensor few = prompt_attention(some, packed, rows, spec);
      expect_close(few, reference::prompt_attention(some, tree.plain, rows, spec), tolerance);
      const Tensor all = prompt_attention(tree.q, packed, {}, spec).index_select(0, at::tensor(rows, at::kLong));
      EXPECT_TRUE(at::equal(few, all));
      const Tensor q = tree.q.slice(0, 0, 90);
      expect_close(branch_attention(q, packed, tree.branches, spec),
                   reference::branch_attention(q, tree.plain, tree.branches, spec), tolerance);
    }
  }
}

TEST(TreeAttention, OtherTypesTakeTheTwin) {
  const torch::InferenceMode guard;
  const Tree tree(at::kDouble);
  const TreePrompts packed = pack_prompts(tree.k, tree.v, tree.starts);
  EXPECT_FALSE(packed.packed_keys.defined());
  EXPECT_TRUE(
      at::equal(prompt_attention(tree.q, packed, {}, {}), reference::prompt_attention(tree.q, tree.plain, {}, {})));
}

TEST(TreeAttention, ThreadsDoNotChangeABit) {
  const torch::InferenceMode guard;
  const Tree tree(at::kFloat);
  const int threads = at::get_num_threads();
  std::vector<Tensor> results;
  for (const int n : {1, 2, 3}) {
    at::set_num_threads(n);
    const TreePrompts packed = pack_prompts(tree.k, tree.v, tree.starts);
    results.push_back(at::cat({prompt_attention(tree.q, packed, {}, {}),
                               branch_attention(tree.q.slice(0, 0, 90), packed, tree.branches, {})}));
    EXPECT_TRUE(at::equal(results[0], results.back()));
  }
  at::set_num_threads(threads);
}

}  // namespace
}  // namespace caravan::ops
