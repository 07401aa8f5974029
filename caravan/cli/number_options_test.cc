// Values of options: what CLI11 alone would let through.
#include "caravan/cli/number_options.h"

#include <gtest/gtest.h>

#include "caravan/base/error.h"

namespace caravan::cli {
namespace {

TEST(NumberOptions, TakeNumbersWithinTheirEndsOnly) {
  for (const char* right : {"1", "64", "+7"}) EXPECT_EQ(whole(1, 64)(std::string(right)), "") << right;
  for (const char* wrong : {"", "0", "65", "-1", "nan", "1e1", "2.0", "x", "2x", " 2", "99999999999999999999"})
    EXPECT_EQ(whole(1, 64)(std::string(wrong)), fmt::format("expected a whole number from 1 to 64, got '{}'", wrong));
  for (const char* right : {"0", "1", "0.5", "1e-3"}) EXPECT_EQ(real(0, 1)(std::string(right)), "") << right;
  for (const char* wrong : {"", "nan", "-nan", "inf", "-0.1", "1.01", "1e30", "1e999", "0,5"})
    EXPECT_EQ(real(0, 1)(std::string(wrong)), fmt::format("expected a number from 0 to 1, got '{}'", wrong));
  EXPECT_EQ(real_above(0, 1)(std::string("1")), "");
  EXPECT_EQ(real_above(0, 1)(std::string("0")), "expected a number above 0, at most 1, got '0'");
  EXPECT_NE(real_above(0, 1)(std::string("nan")), "");
  EXPECT_EQ(filled()(std::string("x")), "");
  EXPECT_NE(filled()(std::string()), "");
}

TEST(NumberOptions, AnOptionThatWouldBeIgnoredIsRefused) {
  CLI::App app;
  int64_t pca = 0;
  double rate = 0;
  app.add_option("--pca", pca)->check(whole(0));
  app.add_option("--lr", rate)->check(real_above(0, 1));
  app.parse("--pca 4");
  EXPECT_NO_THROW(check_companions(app, true, {"--pca"}, "--method rq-kmeans"));
  EXPECT_NO_THROW(check_companions(app, false, {"--lr"}, "--method rq-vae"));
  try {
    check_companions(app, false, {"--lr", "--pca"}, "--method rq-kmeans");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    EXPECT_STREQ(error.what(), "--pca says nothing without --method rq-kmeans: leave it out");
  }
  EXPECT_THROW(app.parse("--pca ''"), CLI::ParseError);
  EXPECT_THROW(app.parse("--lr nan"), CLI::ParseError);
}

}  // namespace
}  // namespace caravan::cli
