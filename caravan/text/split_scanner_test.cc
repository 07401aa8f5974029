// The hand-made scanners against the regular expressions that they stand for, on random text.
#include "caravan/text/split_scanner.h"

#include <gtest/gtest.h>

#include <random>

#include "caravan/text/regex.h"

namespace caravan::text {
namespace {

const char* const kParts[] = {"a",
                              "Z",
                              "word",
                              "s",
                              "S",
                              "t",
                              "re",
                              "VE",
                              "ll",
                              "d",
                              "m",
                              "'",
                              "'s",
                              "'LL",
                              "\xE2\x80\x99",
                              " ",
                              "  ",
                              "\n",
                              "\r",
                              "\r\n",
                              "\t",
                              "\xC2\xA0",
                              "\xE3\x80\x80",
                              "\xE2\x80\xA8",
                              "1",
                              "23",
                              "4567",
                              "\xD9\xA3",
                              "\xC2\xBD",
                              "\xE2\x85\xAB",
                              ".",
                              "!?",
                              "_",
                              "$",
                              "\xC3\xA9",
                              "e\xCC\x81",
                              "\xE6\x97\xA5\xE6\x9C\xAC",
                              "\xC5\xBF",
                              "'\xC5\xBF",
                              "\xF0\x9F\x98\x80",
                              "\xE2\x80\x8D",
                              "\xE0\xA4\xB9\xE0\xA4\xBF",
                              "\xC2\x85",
                              "\xE1\xA0\x8E",
                              "\x01"};

class ScannerPatterns : public testing::TestWithParam<const char*> {};

TEST_P(ScannerPatterns, CutsWhereTheRegexMatches) {
  const auto scanner = SplitScanner::recognize(GetParam());
  ASSERT_TRUE(scanner.has_value());
  const Regex regex(GetParam(), "test");
  std::mt19937 random(7);
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    for (uint32_t n = random() % 12; n > 0; --n) text += kParts[random() % std::size(kParts)];
    std::vector<uint32_t> ends;
    scanner->scan(text, ends);
    std::vector<Span> matches;
    regex.find_all(text, matches);
    std::vector<uint32_t> expected;
    for (const Span& m : matches) expected.push_back(m.end);
    ASSERT_EQ(ends, expected) << testing::PrintToString(text);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Known, ScannerPatterns,
    testing::Values(
        R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
        R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
        R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
        R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"));

TEST(SplitScanner, LeavesUnknownPatternsToTheRegexEngine) {
  EXPECT_FALSE(SplitScanner::recognize(R"(\p{L}+)").has_value());
}

}  // namespace
}  // namespace caravan::text
