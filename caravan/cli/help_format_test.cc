#include "caravan/cli/help_format.h"

#include <gtest/gtest.h>

namespace caravan::cli {
namespace {

TEST(HelpFormat, LinesBreakBetweenWords) {
  EXPECT_EQ(broken_lines("one two three four", 9), "one two\nthree\nfour");
  EXPECT_EQ(broken_lines("a word-that-is-too-long b", 9), "a\nword-that-is-too-long\nb");
  EXPECT_EQ(broken_lines("kept\nbreaks stay", 20), "kept\nbreaks stay");
  EXPECT_EQ(broken_lines("äöü äöü", 7), "äöü äöü");  // columns, not bytes
  EXPECT_EQ(broken_lines("", 9), "");
}

TEST(HelpFormat, HelpFitsTheTerminal) {
  CLI::App app("an app", "app");
  app.formatter(std::make_shared<HelpFormatter>(60));
  int value = 0;
  app.add_option("--value", value,
                 "a description of so many words that a line of sixty columns does not hold them all");
  std::string help = app.help(), line;
  EXPECT_NE(help.find("does not"), std::string::npos);
  for (std::stringstream lines(help); std::getline(lines, line);) EXPECT_LE(line.size(), 60u) << line;
}

}  // namespace
}  // namespace caravan::cli
