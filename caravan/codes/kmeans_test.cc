#include "caravan/codes/kmeans.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "caravan/base/error.h"
#include "caravan/codes/balanced_assignment.h"
#include "caravan/codes/planted.h"
#include "caravan/codes/rq_kmeans.h"

namespace caravan::codes {
namespace {

std::vector<int64_t> sizes_of(const std::vector<int32_t>& assignment, int64_t clusters) {
  std::vector<int64_t> sizes(clusters, 0);
  for (int32_t k : assignment) ++sizes[k];
  return sizes;
}

TEST(KMeans, PlantedClustersAreRecoveredExactly) {
  const Planted planted = plant({16}, 24, 40, 3);
  const KMeans found = kmeans(planted.vectors, {.clusters = 16, .seed = 9});
  EXPECT_TRUE(same_partition(found.assignment, planted.codes[0]));
}

TEST(KMeans, TheCentroidsAreTheMeansOfTheirPoints) {
  at::Generator generator = at::detail::createCPUGenerator(4);
  const at::Tensor x = at::randn({700, 8}, generator, at::kFloat);
  const KMeans found = kmeans(x, {.clusters = 10, .max_iterations = 300, .tolerance = 0});
  for (int32_t k = 0; k < 10; ++k) {
    std::vector<int64_t> rows;
    for (int64_t i = 0; i < 700; ++i) {
      if (found.assignment[i] == k) rows.push_back(i);
    }
    ASSERT_FALSE(rows.empty());
    const at::Tensor mean = x.index_select(0, at::tensor(rows, at::kLong)).mean(0);
    EXPECT_LT((mean - found.centroids[k]).abs().max().item<double>(), 1e-5);
  }
}

TEST(KMeans, AnyNumberOfThreadsGivesTheSameBits) {
  at::Generator generator = at::detail::createCPUGenerator(4);
  const at::Tensor x = at::randn({5000, 33}, generator, at::kFloat);
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const KMeans one = kmeans(x, {.clusters = 50, .restarts = 2, .seed = 5});
  at::set_num_threads(3);
  const KMeans three = kmeans(x, {.clusters = 50, .restarts = 2, .seed = 5});
  at::set_num_threads(before);
  EXPECT_EQ(one.assignment, three.assignment);
  EXPECT_TRUE(at::equal(one.centroids, three.centroids));
  EXPECT_EQ(one.inertia, three.inertia);
}

TEST(KMeans, AnEmptyClusterIsRevived) {
  // 900 equal points and 99 others: seeding may put centroids on equal points, revival must spread them.
  at::Tensor x = at::zeros({999, 4});
  at::Generator generator = at::detail::createCPUGenerator(4);
  x.slice(0, 900) += at::randn({99, 4}, generator, at::kFloat);
  const KMeans found = kmeans(x, {.clusters = 60});
  const auto sizes = sizes_of(found.assignment, 60);
  EXPECT_EQ(std::count(sizes.begin(), sizes.end(), 0), 0);
}

TEST(KMeans, FewerDistinctPointsThanClustersIsNoError) {
  const at::Tensor x = at::tensor({0.f, 0.f, 1.f, 1.f, 0.f, 0.f}).view({3, 2});
  const KMeans found = kmeans(x, {.clusters = 5});
  EXPECT_EQ(found.assignment[0], found.assignment[2]);
  EXPECT_NE(found.assignment[0], found.assignment[1]);
  EXPECT_EQ(found.inertia, 0.0);
}

TEST(KMeans, BalancedClustersKeepTheirLimit) {
  at::Generator generator = at::detail::createCPUGenerator(4);
  const at::Tensor x = at::randn({1000, 6}, generator, at::kFloat).pow(3);  // dense middle, far tails
  const KMeans found = kmeans(x, {.clusters = 30, .max_iterations = 10, .balance_slack = 0.0});
  const auto sizes = sizes_of(found.assignment, 30);
  EXPECT_LE(*std::max_element(sizes.begin(), sizes.end()), 34);  // ceil(1000 / 30)
}

// Seeding polls too: with many clusters it takes longer than the iterations that report.
TEST(KMeans, StopsWhileItSeeds) {
  const Planted planted = plant({16}, 24, 40, 3);
  int polls = 0, iterations = 0;
  KMeansOptions options{.clusters = 100};
  options.progress = [&](int, double) { ++iterations; };
  options.poll = [&] {
    if (++polls == 50) fail(ErrorCode::cancelled, "stopped");
  };
  EXPECT_THROW(kmeans(planted.vectors, options), Error);
  EXPECT_EQ(iterations, 0);
}

TEST(KMeans, ValuesThatAreNotFiniteAreRefused) {
  at::Tensor x = at::zeros({3, 2});
  x[1][0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(kmeans(x, {.clusters = 2}), Error);
}

TEST(BalancedAssignment, EqualsTheBestOfAllPermutations) {
  at::Generator generator = at::detail::createCPUGenerator(6);
  for (int round = 0; round < 20; ++round) {
    const at::Tensor costs = at::rand({6, 6}, generator, at::kFloat);
    std::vector<int> order = {0, 1, 2, 3, 4, 5};
    double best = 1e9;
    do {
      double sum = 0;
      for (int i = 0; i < 6; ++i) sum += costs[i][order[i]].item<double>();
      best = std::min(best, sum);
    } while (std::next_permutation(order.begin(), order.end()));
    const auto found = balanced_assignment(costs, {.capacity = 1, .tolerance = 1e-4});
    double sum = 0;
    for (int i = 0; i < 6; ++i) sum += costs[i][found[i]].item<double>();
    EXPECT_NEAR(sum, best, 6 * 1e-4);
    EXPECT_EQ(*std::max_element(found.begin(), found.end()), 5);
  }
}

TEST(BalancedAssignment, TooManyRowsAreRefused) {
  EXPECT_THROW(balanced_assignment(at::zeros({7, 3}), {.capacity = 2}), Error);
}

TEST(RqKMeans, PlantedCodesAreRecoveredOnEveryLevel) {
  const Planted planted = plant({8, 6, 5}, 16, 4, 7);
  const ResidualCodes rq = rq_kmeans(planted.vectors, {.codebooks = {8, 6, 5}, .seed = 2});
  for (size_t level = 0; level < 3; ++level)
    EXPECT_TRUE(same_partition(rq.codes[level], planted.codes[level])) << level;
  EXPECT_EQ(rq.quantizer.encode(planted.vectors), rq.codes);
  const at::Tensor rest = rq.projected - rq.quantizer.decode(rq.projected, rq.codes, 3);
  EXPECT_LT(rest.norm().item<double>() / rq.projected.norm().item<double>(), 1e-3);
}

TEST(RqKMeans, NormalizedResidualsDecodeToTheSameSum) {
  const Planted planted = plant({8, 6, 5}, 16, 4, 7);
  const ResidualCodes rq = rq_kmeans(planted.vectors, {.codebooks = {8, 6, 5}, .normalize_residuals = true, .seed = 2});
  for (size_t level = 0; level < 3; ++level)
    EXPECT_TRUE(same_partition(rq.codes[level], planted.codes[level])) << level;
  const at::Tensor rest = rq.projected - rq.quantizer.decode(rq.projected, rq.codes, 3);
  EXPECT_LT(rest.norm().item<double>() / rq.projected.norm().item<double>(),
            5e-3);  // noise is scaled up with the residuals
}

TEST(RqKMeans, RefusesMoreComponentsThanThereAre) {
  const at::Tensor x = at::arange(40, at::kFloat).view({10, 4});
  EXPECT_NO_THROW(rq_kmeans(x, {.codebooks = {2}, .components = 4}));
  EXPECT_THROW(rq_kmeans(x, {.codebooks = {2}, .components = 5}), Error);
  EXPECT_THROW(rq_kmeans(x, {.codebooks = {2}, .components = -1}), Error);
}

TEST(RqKMeans, AnyNumberOfThreadsGivesTheSameBits) {
  at::Generator generator = at::detail::createCPUGenerator(8);
  const at::Tensor x = at::randn({6007, 48}, generator, at::kFloat);
  const int before = at::get_num_threads();
  for (const bool balanced : {false, true}) {
    RqOptions options{.codebooks = {64, 40}, .components = 30, .whiten = true, .seed = 3};
    if (balanced) options.kmeans.balance_slack = 0.1, options.kmeans.max_iterations = 3;
    at::set_num_threads(1);
    const ResidualCodes one = rq_kmeans(x, options);
    for (const int threads : {2, 3}) {
      at::set_num_threads(threads);
      const ResidualCodes several = rq_kmeans(x, options);
      EXPECT_EQ(one.codes, several.codes);
      EXPECT_TRUE(at::equal(one.projected, several.projected));
      for (size_t level = 0; level < 2; ++level)
        EXPECT_TRUE(at::equal(one.quantizer.codebooks[level], several.quantizer.codebooks[level]));
    }
  }
  at::set_num_threads(before);
}

TEST(RqKMeans, WhiteningGivesUncorrelatedComponentsOfVarianceOne) {
  at::Generator generator = at::detail::createCPUGenerator(6);
  const at::Tensor x =
      at::matmul(at::randn({2000, 12}, generator, at::kFloat), at::randn({12, 12}, generator, at::kFloat));
  const at::Tensor y = principal_components(x, 5, true).apply(x).to(at::kDouble);
  const at::Tensor covariance = at::matmul(y.transpose(0, 1), y) / 2000.0;
  EXPECT_LT((covariance - at::eye(5, at::kDouble)).abs().max().item<double>(), 1e-3);
}

}  // namespace
}  // namespace caravan::codes
