#include "caravan/nn/kv_cache.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "caravan/base/error.h"
#include "caravan/nn/step.h"

namespace caravan::nn {
namespace {

constexpr CacheShape kShape{.layers = 2, .kv_heads = 3, .head_dim = 4, .page_tokens = 4};

// Stores n tokens whose keys are value, value + 1, ... in every element (values: the negative).
void put(KvCache& cache, CacheSequence& sequence, int64_t n, double value) {
  cache.extend(sequence, n);
  const Tensor rows = (at::arange(n, at::kFloat) + value).reshape({n, 1, 1}).expand({n, 3, 4}).contiguous();
  CacheSequence* const sequences[] = {&sequence};
  const int64_t starts[] = {0, n};
  for (int64_t layer = 0; layer < 2; ++layer) cache.store(layer, sequences, starts, rows, -rows);
}

std::vector<float> keys(const KvCache& cache, const CacheSequence& sequence, int64_t layer = 1) {
  const Tensor k = cache.gather_keys(layer, sequence)[2].select(1, 3).contiguous();
  EXPECT_TRUE(at::equal(cache.gather_values(layer, sequence), -cache.gather_keys(layer, sequence)));
  return {k.data_ptr<float>(), k.data_ptr<float>() + k.numel()};
}

TEST(KvCache, ForksShareFullPagesAndCopyTheLastOneOnWrite) {
  KvCache cache(kShape, at::kFloat);
  CacheSequence a = cache.new_sequence();
  put(cache, a, 6, 10);
  CacheSequence b = a.fork();
  EXPECT_EQ(cache.used_pages(), 2);
  put(cache, b, 1, 50);
  put(cache, a, 1, 70);
  EXPECT_EQ(cache.used_pages(), 3);
  EXPECT_EQ(keys(cache, a), (std::vector<float>{10, 11, 12, 13, 14, 15, 70}));
  EXPECT_EQ(keys(cache, b), (std::vector<float>{10, 11, 12, 13, 14, 15, 50}));
}

TEST(KvCache, SmallerTypesKeepNumbersNearTheGiven) {
  at::manual_seed(1);
  const Tensor rows = at::randn({7, 3, 4});
  for (const auto [dtype, bytes] : {std::pair(at::kBFloat16, 8), std::pair(at::kChar, 8)}) {
    KvCache cache(kShape, dtype);
    EXPECT_EQ(cache.row_bytes(), bytes);
    CacheSequence a = cache.new_sequence(), *const sequences[] = {&a};
    cache.extend(a, 7);
    const int64_t starts[] = {0, 7};
    cache.store(1, sequences, starts, rows, -rows);
    CacheSequence b = a.fork();
    cache.extend(b, 1);  // a copy of the last page
    const Tensor kept = cache.gather_keys(1, b).slice(1, 0, 7).to(at::kFloat).transpose(0, 1);
    const Tensor bound = dtype == at::kChar ? rows.abs().amax(2, true) / 253 : rows.abs() / 256;
    EXPECT_TRUE(((kept - rows).abs() <= bound).all().item<bool>());
    EXPECT_TRUE(at::equal(cache.gather_values(1, a), -cache.gather_keys(1, a)));
  }
}

TEST(KvCache, TruncatedTokensAreForgottenAndPagesReturn) {
  KvCache cache(kShape, at::kFloat);
  CacheSequence a = cache.new_sequence();
  put(cache, a, 9, 0);
  EXPECT_EQ(cache.used_pages(), 3);
  CacheSequence b = a.fork();
  a.truncate(3);
  EXPECT_EQ(cache.used_pages(), 3);  // b still holds them
  put(cache, a, 2, 100);             // the shared first page is copied before the write
  EXPECT_EQ(keys(cache, a), (std::vector<float>{0, 1, 2, 100, 101}));
  EXPECT_EQ(keys(cache, b), (std::vector<float>{0, 1, 2, 3, 4, 5, 6, 7, 8}));
  b = CacheSequence();
  a.truncate(0);
  EXPECT_EQ(cache.used_pages(), 0);
  EXPECT_THROW(a.truncate(1), Error);
}

TEST(KvCache, ManyForksAndDropsLoseNoPage) {
  KvCache cache(kShape, at::kFloat);
  torch::manual_seed(1);
  std::vector<CacheSequence> beams;
  beams.push_back(cache.new_sequence());
  put(cache, beams[0], 7, 0);
  std::vector<std::vector<float>> expected = {keys(cache, beams[0])};
  for (int step = 0; step < 200; ++step) {
    const auto parent = static_cast<size_t>(at::randint(static_cast<int64_t>(beams.size()), {1}).item<int64_t>());
    CacheSequence child = beams[parent].fork();
    auto tokens = expected[parent];
    put(cache, child, 1, step * 1000);
    tokens.push_back(static_cast<float>(step * 1000));
    if (beams.size() < 6) {
      beams.push_back(std::move(child));
      expected.push_back(tokens);
    } else {
      beams[static_cast<size_t>(step) % 6] = std::move(child);
      expected[static_cast<size_t>(step) % 6] = tokens;
    }
    for (size_t i = 0; i < beams.size(); ++i) ASSERT_EQ(keys(cache, beams[i]), expected[i]);
  }
  beams.clear();
  EXPECT_EQ(cache.used_pages(), 0);
}

TEST(Step, PositionsContinueWhereTheCacheEnds) {
  KvCache cache(kShape, at::kFloat);
  CacheSequence a = cache.new_sequence(), b = cache.new_sequence();
  put(cache, a, 5, 0);
  const int64_t lengths[] = {1, 3};
  const Step step = Step::cached(cache, {&a, &b}, lengths);
  EXPECT_EQ(step.past(0), 5);
  EXPECT_EQ(step.past(1), 0);
  EXPECT_TRUE(at::equal(step.positions, at::tensor({5, 0, 1, 2}, at::kLong)));
  const int64_t none[] = {0};
  EXPECT_THROW(Step::packed(none), Error);
}

}  // namespace
}  // namespace caravan::nn
