// Rotary scalings whose frequencies depend on a sequence's length; all scalings against transformers:
// models/golden_test.
#include "caravan/nn/rotary.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "caravan/nn/step.h"
#include "caravan/nn/tree_cache.h"

namespace caravan::nn {
namespace {

RotaryConfig dynamic() { return {.type = "dynamic", .rotary_dim = 8, .max_position_embeddings = 6, .factor = 4}; }

RotaryConfig longrope() {
  return {.type = "longrope",
          .rotary_dim = 8,
          .max_position_embeddings = 24,
          .original_max_position_embeddings = 6,
          .factor = 4,
          .short_factor = {1, 1, 1.5, 2},
          .long_factor = {1, 2, 3, 4}};
}

Tensor cosines(const RotaryConfig& config, Step step) {
  RotaryEmbedding(config).prepare(step, at::kFloat);
  return step.cos;
}

Step packed(std::vector<int64_t> lengths) { return Step::packed(lengths); }

// Neighbours of any length leave a sequence's tables as they are.
TEST(RotaryEmbedding, EverySequenceOfABatchHasTheFrequenciesOfItsOwnLength) {
  for (const RotaryConfig& config : {dynamic(), longrope()}) {
    const Tensor apart = at::cat({cosines(config, packed({3})), cosines(config, packed({20})),
                                  cosines(config, packed({6})), cosines(config, packed({9}))});
    EXPECT_TRUE(at::equal(cosines(config, packed({3, 20, 6, 9})), apart)) << config.type;
    EXPECT_FALSE(at::equal(cosines(config, packed({3})), cosines(config, packed({20})).slice(0, 0, 3))) << config.type;
  }
}

// A search's rows behind a short and a long prompt.
TEST(RotaryEmbedding, RowsBehindPromptsHaveTheFrequenciesOfTheirOwnLength) {
  for (const RotaryConfig& config : {dynamic(), longrope()}) {
    const auto rows = [&](const std::vector<int64_t>& prompts) {
      TreeCache tree(1);
      tree.prompts(prompts);
      std::vector<int64_t> starts(prompts.size() + 1);
      for (size_t u = 0; u <= prompts.size(); ++u) starts[u] = static_cast<int64_t>(u);
      return cosines(config, tree.branch(starts, std::vector<int64_t>(prompts.size(), 0)));
    };
    EXPECT_TRUE(at::equal(rows({2, 12}), at::cat({rows({2}), rows({12})}))) << config.type;
  }
}

// A batch with padding counts as transformers does: one length for all.
TEST(RotaryEmbedding, AGivenLengthCountsForAll) {
  Step step = packed({3, 20});
  step.rotary_length = 20;
  EXPECT_TRUE(at::equal(cosines(dynamic(), step).slice(0, 0, 3), cosines(dynamic(), packed({20})).slice(0, 0, 3)));
}

}  // namespace
}  // namespace caravan::nn
