#include "caravan/base/lines.h"

#include <gtest/gtest.h>

#include "caravan/base/error.h"
#include "caravan/base/temporary_folder.h"

namespace caravan {
namespace {

std::vector<std::string> lines_of(const std::string& text, uint64_t limit = 64 << 20) {
  TemporaryFolder folder;
  write_file(folder / "a.txt", text);
  LineReader reader(folder / "a.txt", limit);
  std::vector<std::string> lines;
  while (reader.next()) {
    lines.emplace_back(reader.line());
    EXPECT_EQ(reader.number(), lines.size());
  }
  EXPECT_EQ(reader.position(), text.size());
  return lines;
}

TEST(LineReader, GivesEveryLineWithoutItsEnd) {
  using Lines = std::vector<std::string>;
  EXPECT_EQ(lines_of(""), Lines{});
  EXPECT_EQ(lines_of("a"), Lines{"a"});
  EXPECT_EQ(lines_of("a\nb\n"), (Lines{"a", "b"}));
  EXPECT_EQ(lines_of("a\r\n\r\nb"), (Lines{"a", "", "b"}));
  EXPECT_EQ(lines_of("\xEF\xBB\xBFx\n"), Lines{"x"});
}

TEST(LineReader, CarriesLinesAcrossItsBuffer) {
  std::string text;
  std::vector<std::string> expected;
  for (size_t i = 0; i < 300; ++i) {  // 13 MB, with one line of 3 MB
    expected.push_back(std::string(i == 100 ? 3 << 20 : 1 + i * 149 % 70'000, static_cast<char>('a' + i % 26)));
    text += expected.back() + (i % 2 ? "\n" : "\r\n");
  }
  EXPECT_EQ(lines_of(text), expected);
}

TEST(LineReader, GoesBackToAMark) {
  TemporaryFolder folder;
  write_file(folder / "a.txt", "a\n" + std::string(3 << 20, 'b') + "\nc\n");
  LineReader reader(folder / "a.txt");
  ASSERT_TRUE(reader.next());
  const LineReader::Mark mark = reader.mark();
  while (reader.next()) continue;
  reader.rewind(mark);
  ASSERT_TRUE(reader.next());
  EXPECT_EQ(reader.line().size(), size_t{3} << 20);
  EXPECT_EQ(reader.number(), 2u);
  ASSERT_TRUE(reader.next());
  EXPECT_EQ(reader.line(), "c");
}

TEST(LineReader, RefusesEndlessLinesAndUtf16) {
  EXPECT_THROW(lines_of(std::string(3 << 20, 'x'), 1 << 20), Error);
  EXPECT_THROW(lines_of(std::string("\xFF\xFE"
                                    "a\0",
                                    4)),
               Error);
}

TEST(ReadJsonl, NamesTheLineOfAnError) {
  TemporaryFolder folder;
  write_file(folder / "a.jsonl", "{\"a\": 1}\n\n{\"a\": }\n");
  size_t rows = 0;
  try {
    read_jsonl(folder / "a.jsonl", [&](const Json& value, size_t line) { rows += value["a"] == 1 && line == 1; });
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("a.jsonl:3"), std::string::npos) << error.what();
    EXPECT_EQ(error.fault(), FileFault::json);
  }
  EXPECT_EQ(rows, 1u);
}

}  // namespace
}  // namespace caravan
