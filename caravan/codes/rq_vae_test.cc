#include "caravan/codes/rq_vae.h"

#include <gtest/gtest.h>

#include "caravan/base/error.h"
#include "caravan/codes/planted.h"
#include "caravan/codes/quality.h"

namespace caravan::codes {
namespace {

RqVaeOptions small_options() {
  return {.codebooks = {12, 8}, .hidden = {32}, .latent = 8, .lr = 3e-3, .epochs = 30, .batch = 96, .seed = 3};
}

TEST(RqVae, TheLossFallsAndPlantedGroupsGetTheirCodes) {
  const Planted planted = plant({12, 8}, 16, 10, 5);
  const RqVae vae = train_rq_vae(planted.vectors, small_options());
  EXPECT_LT(vae.losses.back(), vae.losses.front() / 3);
  const CodeTable table{.sizes = {12, 8}, .codes = vae.codes.codes};
  const Quality q = measure_quality(table, {.vectors = planted.vectors, .quantizer = &vae.codes});
  EXPECT_GE(static_cast<double>(q.levels[0].used) / 12, 0.9);
  EXPECT_GE(static_cast<double>(q.levels[1].used) / 8, 0.9);
  EXPECT_TRUE(same_partition(vae.codes.codes[0], planted.codes[0]));
  const double left =
      (vae.reconstructed - planted.vectors).norm().item<double>() / planted.vectors.norm().item<double>();
  EXPECT_LT(left, 0.3);
}

TEST(RqVae, TheSameSeedGivesTheSameCodes) {
  const Planted planted = plant({12, 8}, 16, 3, 5);
  RqVaeOptions options = small_options();
  options.epochs = 5;
  const RqVae a = train_rq_vae(planted.vectors, options), b = train_rq_vae(planted.vectors, options);
  EXPECT_EQ(a.codes.codes, b.codes.codes);
  EXPECT_EQ(a.losses, b.losses);
}

TEST(RqVae, StopsBetweenTwoSteps) {
  const Planted planted = plant({12, 8}, 16, 10, 5);  // ten steps an epoch
  RqVaeOptions options = small_options();
  int polls = 0, epochs = 0;
  options.progress = [&](const RqVaeProgress&) { ++epochs; };
  options.poll = [&] {
    if (++polls == 30) fail(ErrorCode::cancelled, "stopped");
  };
  EXPECT_THROW(train_rq_vae(planted.vectors, options), Error);
  EXPECT_LT(epochs, 3);
}

TEST(RqVae, DeadCodesAreRevived) {
  const Planted planted = plant({12, 8}, 16, 10, 5);
  RqVaeOptions options = small_options();
  options.codebooks = {64, 32};  // more codes than groups: many would die
  int64_t revived = 0;
  options.progress = [&](const RqVaeProgress& at) { revived += at.revived; };
  const RqVae vae = train_rq_vae(planted.vectors, options);
  const Quality q = measure_quality({.sizes = {64, 32}, .codes = vae.codes.codes});
  EXPECT_GT(revived, 0);
  EXPECT_GE(q.levels[0].used, 58);
  EXPECT_GE(q.levels[1].used, 29);
}

}  // namespace
}  // namespace caravan::codes
