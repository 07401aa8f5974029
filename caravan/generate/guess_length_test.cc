#include "caravan/generate/guess_length.h"

#include <gtest/gtest.h>

namespace caravan::generate {
namespace {

// Guesses made in so many rounds, of which the first `right` of each are.
int64_t play(GuessLength& length, int64_t rounds, int64_t right) {
  int64_t made = 0;
  for (int64_t i = 0; i < rounds; ++i) {
    const int64_t n = length.next();
    length.see(n, std::min(n, right));
    made += n;
  }
  return made;
}

TEST(GuessLength, RightGuessesGrowToAsManyAsAllowed) {
  GuessLength length(6, 0.1);
  play(length, 50, 100);
  EXPECT_EQ(length.next(), 6);
  EXPECT_GT(length.acceptance(), 0.99);
}

TEST(GuessLength, WrongGuessesOfADraftEndExceptForRareTries) {
  GuessLength length(20, 0.3);
  play(length, 20, 0);
  EXPECT_LE(play(length, 1000, 0), 20);
}

TEST(GuessLength, ADraftAsDearAsTheModelIsNotUsed) {
  GuessLength length(20, 1.0);
  EXPECT_EQ(length.next(), 0);
}

TEST(GuessLength, GuessesAreMadeAgainWhenTheyAreRightAgain) {
  GuessLength length(8, 0.1);
  play(length, 60, 0);
  EXPECT_LE(play(length, 60, 0), 10);
  play(length, 600, 100);
  EXPECT_EQ(length.next(), 8);
}

TEST(GuessLength, WrongLookUpsEndAsWellThoughTheyCostLittle) {
  GuessLength length(10, 0.0);
  play(length, 100, 0);
  EXPECT_LE(play(length, 1000, 0), 60);
  play(length, 600, 100);
  EXPECT_EQ(length.next(), 10);
}

// The best length for a known acceptance, by hand: a = 1/2, a guess costs 0.15 and checking 0.1: (1 - 2^-(g+1)) 2 /
// (1.1 + 0.15 g) is 1.2, 1.25, 1.21 for g = 1, 2, 3.
TEST(GuessLength, TakesTheLengthWithMostTokensPerCost) {
  GuessLength length(20, 0.15);
  for (int i = 0; i < 300; ++i) length.see(1, i % 2);
  EXPECT_NEAR(length.acceptance(), 0.5, 0.05);
  EXPECT_EQ(length.next(), 2);
}

}  // namespace
}  // namespace caravan::generate
