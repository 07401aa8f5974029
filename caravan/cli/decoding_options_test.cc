// The defaults that the help shows are those that hold.
#include "caravan/cli/decoding_options.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace caravan::cli {
namespace {

TEST(DecodingOptions, ShowTheDefaultsOfGenerationConfig) {
  EXPECT_GT(DecodingOptions::defaults().size(), 20u);
  for (auto [name, shown] : DecodingOptions::defaults()) {
    if (name == "seed" || name == "max-new-tokens") continue;  // chosen, or filled in, when a request runs
    std::replace(name.begin(), name.end(), '-', '_');
    generate::GenerationConfig config;
    config.update({{name, Json::parse(shown)}}, "test");
    EXPECT_FALSE(config.to_json().contains(name)) << name << " is not " << shown << " by default";
  }
}

TEST(DecodingOptions, ChooseAnotherSeedEveryTime) {
  generate::GenerationConfig a, b, c;
  choose_seed(a), choose_seed(b), choose_seed(c);
  EXPECT_FALSE(a.seed == b.seed && b.seed == c.seed);
  EXPECT_LT(a.seed, uint64_t{1} << 32);
}

}  // namespace
}  // namespace caravan::cli
