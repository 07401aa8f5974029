#include "caravan/base/nearest.h"

#include <gtest/gtest.h>

namespace caravan {
namespace {

TEST(Nearest, EditDistanceCountsInsertionsDeletionsSubstitutionsAndSwaps) {
  EXPECT_EQ(edit_distance("", ""), 0);
  EXPECT_EQ(edit_distance("abc", ""), 3);
  EXPECT_EQ(edit_distance("tokenize", "tokenise"), 1);
  EXPECT_EQ(edit_distance("tokenize", "toknize"), 1);
  EXPECT_EQ(edit_distance("chat", "hcat"), 1);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
}

TEST(Nearest, SuggestsTheClosestNameAndNothingWhereAllAreFar) {
  const std::vector<std::string> names = {"--temperature", "--top-p", "--top-k", "--max-new-tokens"};
  EXPECT_EQ(nearest("--temprature", names), "--temperature");
  EXPECT_EQ(nearest("--top-kk", names), "--top-k");
  EXPECT_EQ(nearest("--temp", names), "--temperature");
  EXPECT_EQ(nearest("--verbose", names), "");
  EXPECT_EQ(did_you_mean("zzz", names), "");
}

TEST(Nearest, AnEndlessWordIsAnsweredAtOnce) { EXPECT_EQ(nearest(std::string(1 << 22, 'x'), {"--top-p"}), ""); }

}  // namespace
}  // namespace caravan
