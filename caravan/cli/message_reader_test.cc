// Messages of several lines, Ctrl-C and Ctrl-D in them.
#include "caravan/cli/message_reader.h"

#include <gtest/gtest.h>

#include <vector>

namespace caravan::cli {
namespace {

struct Script {
  struct Step {
    LineRead read;
    std::string line;
  };
  std::vector<Step> steps;
  std::vector<std::string> prompts = {};
  size_t at = 0;

  MessageReader reader() {
    return MessageReader([this](std::string_view prompt, std::string& line) {
      prompts.emplace_back(prompt);
      if (at == steps.size()) return LineRead::end;
      line = steps[at].line;
      return steps[at++].read;
    });
  }
};

TEST(MessageReader, JoinsQuotedAndContinuedLines) {
  Script script{{{LineRead::line, "plain"},
                 {LineRead::line, "\"\"\"one"},
                 {LineRead::line, "  two \\"},
                 {LineRead::line, "three\"\"\""},
                 {LineRead::line, "a\\"},
                 {LineRead::line, "b"}}};
  MessageReader reader = script.reader();
  std::string message;
  ASSERT_EQ(reader.next(message), LineRead::line);
  EXPECT_EQ(message, "plain");
  ASSERT_EQ(reader.next(message), LineRead::line);
  EXPECT_EQ(message, "one\n  two \\\nthree");
  ASSERT_EQ(reader.next(message), LineRead::line);
  EXPECT_EQ(message, "a\nb");
  EXPECT_EQ(reader.next(message), LineRead::end);
  EXPECT_EQ(script.prompts, (std::vector<std::string>{"> ", "> ", "... ", "... ", "> ", "... ", "> "}));
}

TEST(MessageReader, TakesAPasteAsItStands) {
  Script script{{{LineRead::line, "\"\"\"doc\nline \\"}, {LineRead::line, "\"\"\"x"}, {LineRead::line, "p\nq\"\"\""}}};
  MessageReader reader = script.reader();
  std::string message;
  ASSERT_EQ(reader.next(message), LineRead::line);
  EXPECT_EQ(message, "\"\"\"doc\nline \\");
  ASSERT_EQ(reader.next(message), LineRead::line);
  EXPECT_EQ(message, "x\np\nq");
}

TEST(MessageReader, InterruptsForgetWhatWasBegun) {
  Script script{{{LineRead::interrupted, ""},
                 {LineRead::cleared, "half"},
                 {LineRead::line, "\"\"\"begun"},
                 {LineRead::interrupted, ""},
                 {LineRead::line, "whole"}}};
  MessageReader reader = script.reader();
  std::string message;
  EXPECT_EQ(reader.next(message), LineRead::interrupted);
  EXPECT_EQ(reader.next(message), LineRead::cleared);
  EXPECT_EQ(reader.next(message), LineRead::cleared);
  EXPECT_EQ(message, "");
  ASSERT_EQ(reader.next(message), LineRead::line);
  EXPECT_EQ(message, "whole");
}

TEST(MessageReader, TheEndEndsABegunMessage) {
  Script script{{{LineRead::line, "\"\"\"one"}, {LineRead::line, "two"}}};
  MessageReader reader = script.reader();
  std::string message;
  ASSERT_EQ(reader.next(message), LineRead::line);
  EXPECT_EQ(message, "one\ntwo");
  EXPECT_EQ(reader.next(message), LineRead::end);
}

TEST(MessageReader, QuotesOnLinesOfTheirOwnAddNoLines) {
  Script script{{{LineRead::line, "\"\"\""},
                 {LineRead::line, "one"},
                 {LineRead::line, ""},
                 {LineRead::line, "two"},
                 {LineRead::line, "\"\"\""}}};
  MessageReader reader = script.reader();
  std::string message;
  ASSERT_EQ(reader.next(message), LineRead::line);
  EXPECT_EQ(message, "one\n\ntwo");
}

}  // namespace
}  // namespace caravan::cli
