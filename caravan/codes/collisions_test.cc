#include "caravan/codes/collisions.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <sstream>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/codes/planted.h"
#include "caravan/codes/quality.h"

namespace caravan::codes {
namespace {

std::set<std::vector<int32_t>> tuples_of(const CodeTable& table) {
  std::set<std::vector<int32_t>> tuples;
  for (int64_t i = 0; i < table.items(); ++i) {
    std::vector<int32_t> tuple;
    for (const auto& level : table.codes) tuple.push_back(level[i]);
    tuples.insert(tuple);
  }
  return tuples;
}

TEST(Collisions, TheCounterGoesByPopularity) {
  CodeTable table{.sizes = {4, 4}, .codes = {{1, 1, 2, 1, 2}, {3, 3, 0, 3, 1}}};
  const std::vector<int64_t> popularity = {5, 9, 1, 5, 7};
  append_counter(table, popularity);
  EXPECT_EQ(table.codes[2], (std::vector<int32_t>{1, 0, 0, 2, 0}));
  EXPECT_EQ(table.sizes, (std::vector<int64_t>{4, 4, 3}));
  EXPECT_EQ(tuples_of(table).size(), 5u);
}

ResidualCodes crowded(std::vector<int64_t> codebooks, int64_t items) {
  at::Generator generator = at::detail::createCPUGenerator(8);
  return rq_kmeans(at::randn({items, 3}, generator, at::kFloat).pow(3), {.codebooks = std::move(codebooks), .seed = 1});
}

TEST(Collisions, ReassignedTuplesAreAllDifferent) {
  const std::vector<std::vector<int64_t>> shapes = {{8, 8, 8}, {32, 16}, {512}};
  for (const auto& shape : shapes) {
    const ResidualCodes rq = crowded(shape, 500);
    CodeTable table{.sizes = shape, .codes = rq.codes};
    const size_t before = tuples_of(table).size();
    const int64_t moved = reassign(table, rq);
    EXPECT_EQ(tuples_of(table).size(), 500u) << "of " << before;
    EXPECT_GE(moved, static_cast<int64_t>(500 - before));
    EXPECT_LT(moved, 500);
  }
}

TEST(Collisions, CodesWithoutCollisionsStayAsTheyAre) {
  const Planted planted = plant({8, 6, 5}, 16, 1, 7);
  const ResidualCodes rq = rq_kmeans(planted.vectors, {.codebooks = {8, 6, 5}, .seed = 2});
  CodeTable table{.sizes = {8, 6, 5}, .codes = rq.codes};
  EXPECT_EQ(reassign(table, rq), 0);
  EXPECT_EQ(sinkhorn_reassign(table, rq), 0);
  EXPECT_EQ(table.codes, rq.codes);
}

TEST(Collisions, MoreItemsThanTuplesAreRefused) {
  const ResidualCodes rq = crowded({4, 4}, 17);
  CodeTable table{.sizes = {4, 4}, .codes = rq.codes};
  EXPECT_THROW(reassign(table, rq), Error);
}

TEST(Collisions, SinkhornSpreadsColumnsEvenly) {
  at::Generator generator = at::detail::createCPUGenerator(8);
  const at::Tensor costs = at::rand({64, 8}, generator, at::kFloat) + at::arange(8, at::kFloat);  // all prefer 0
  const auto chosen = sinkhorn_assignment(costs, {.epsilon = 0.05, .iterations = 200});
  std::vector<int> sizes(8, 0);
  for (int32_t c : chosen) ++sizes[c];
  for (int size : sizes) EXPECT_NEAR(size, 8, 4);
}

TEST(Collisions, SinkhornRoundsLowerTheNumberOfCollisions) {
  const ResidualCodes rq = crowded({8, 8, 32}, 500);
  CodeTable table{.sizes = {8, 8, 32}, .codes = rq.codes};
  const size_t before = tuples_of(table).size();
  sinkhorn_reassign(table, rq);
  EXPECT_GT(tuples_of(table).size(), before);
  EXPECT_EQ(table.codes[0], rq.codes[0]);
  EXPECT_EQ(table.codes[1], rq.codes[1]);
}

TEST(Quality, KnownCodesGiveKnownNumbers) {
  // 6 items, 2 levels of 4: level 1 uses {0, 1} three times each, tuples (0,0) x 2, (0,1), (1,2) x 3.
  const CodeTable table{.sizes = {4, 4}, .codes = {{0, 0, 0, 1, 1, 1}, {0, 0, 1, 2, 2, 2}}};
  const Quality q = measure_quality(table);
  EXPECT_EQ(q.tuples, 3);
  EXPECT_DOUBLE_EQ(q.collision_rate, 0.5);
  EXPECT_EQ(q.colliding_items, 5);
  EXPECT_EQ(q.largest_bucket, 3);
  EXPECT_EQ(q.bucket_sizes, (std::vector<int64_t>{0, 1, 1, 1}));
  EXPECT_EQ(q.levels[0].used, 2);
  EXPECT_NEAR(q.levels[0].perplexity, 2.0, 1e-12);
  EXPECT_EQ(q.levels[1].used, 3);
  EXPECT_NEAR(q.levels[0].neighbours_chance, 12.0 / 30, 1e-12);  // ordered pairs of the same half
  EXPECT_EQ(q.levels[0].error, -1);
}

TEST(Quality, PlantedVectorsHaveNoErrorLeftAndTheirNeighboursNearby) {
  const Planted planted = plant({8, 6, 5}, 16, 12, 7);  // 12 copies of each tuple: 11 neighbours at no distance
  const ResidualCodes rq = rq_kmeans(planted.vectors, {.codebooks = {8, 6, 5}, .seed = 2});
  const CodeTable table{.sizes = {8, 6, 5}, .codes = rq.codes};
  const Quality q = measure_quality(table, {.vectors = planted.vectors, .quantizer = &rq});
  EXPECT_EQ(q.tuples, 240);
  EXPECT_NEAR(q.levels[2].neighbours, 1.0, 1e-9);
  EXPECT_LT(q.levels[0].error, 0.05);
  EXPECT_LT(q.levels[1].error, q.levels[0].error / 10);
  EXPECT_LT(q.levels[2].error, 1e-5);
  EXPECT_GT(q.levels[0].neighbours_chance, 0.1);
}

// Ready codes of Amazon Beauty on LLaMA-7B vectors: three levels and a random fourth.
CodeTable read_ready_codes(const std::string& path) {
  std::istringstream lines(read_file(path));
  std::string line;
  std::getline(lines, line);
  CodeTable table{.sizes = {256, 256, 256}, .codes = {{}, {}, {}}};
  for (int32_t id, code; lines >> id;) {
    for (auto& level : table.codes) lines >> code, level.push_back(code);
    lines >> code;
  }
  return table;
}

TEST(Quality, ReadyBeautyCodesHaveTheirPublishedCollisions) {
  const std::string folder = CARAVAN_SOURCE_DIR "/../shared/data/amazon-beauty/";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no " << folder;
  const Quality vae = measure_quality(read_ready_codes(folder + "sid_llama7b_rqvae.tsv"));
  EXPECT_EQ(vae.items, 12101);
  EXPECT_EQ(vae.tuples, 11412);
  EXPECT_EQ(vae.largest_bucket, 13);
  const Quality kmeans = measure_quality(read_ready_codes(folder + "sid_llama7b_rqkmeans.tsv"));
  EXPECT_EQ(kmeans.tuples, 7840);
  EXPECT_EQ(kmeans.largest_bucket, 75);
}

}  // namespace
}  // namespace caravan::codes
