#include "caravan/cli/input.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "caravan/base/error.h"
#include "caravan/base/temporary_folder.h"

namespace caravan::cli {
namespace {

std::vector<std::string> all_lines(std::string_view text, size_t batch_bytes) {
  const TemporaryFolder folder;  // other tests run at the same time
  const std::string path = folder / "lines.txt";
  write_file(path, text);
  LineReader reader(path);
  std::vector<std::string> all, batch;
  while (reader.next_batch(batch, batch_bytes)) {
    EXPECT_EQ(reader.first_line(), all.size() + 1);
    all.insert(all.end(), batch.begin(), batch.end());
  }
  return all;
}

TEST(LineReader, LinesAreTheSameForEveryBatchSize) {
  const std::string text = "one\n\ntwo \r\n\xff\xfe three\nlast without an end";
  const std::vector<std::string> lines = {"one", "", "two \r", "\xff\xfe three", "last without an end"};
  for (size_t bytes = 1; bytes < 50; ++bytes) EXPECT_EQ(all_lines(text, bytes), lines) << bytes;
}

TEST(LineReader, AnEmptyFileHasNoLinesAndAFinalNewlineAddsNone) {
  EXPECT_TRUE(all_lines("", 16).empty());
  EXPECT_EQ(all_lines("\n", 16), std::vector<std::string>{""});
  EXPECT_EQ(all_lines("a\n", 16), std::vector<std::string>{"a"});
}

TEST(LineReader, APipeIsReadAsAFileIs) {
  const TemporaryFolder folder;
  const std::string path = folder / "pipe";
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  std::thread writer([&] { std::ofstream(path) << "one\ntwo"; });
  EXPECT_EQ(read_input(path), "one\ntwo");
  writer.join();
  std::filesystem::remove(path);
}

TEST(LineReader, DevicesAreReadAndFoldersAreNot) {
  EXPECT_EQ(read_input("/dev/null"), "");
  EXPECT_THROW(read_input(testing::TempDir()), Error);
}

TEST(LineReader, ABlankTextIsRefusedAndTheOptionNamed) {
  const TemporaryFolder folder;
  write_file(folder / "blank.txt", " \n\t\n");
  write_file(folder / "text.txt", " a\n");
  EXPECT_EQ(read_text("--file", folder / "text.txt"), " a\n");
  try {
    read_text("--file", folder / "blank.txt");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    EXPECT_TRUE(std::string_view(error.what()).starts_with("--file: "));
  }
}

TEST(LineReader, AMissingFileIsNotFound) {
  try {
    LineReader reader("no/such/file");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::not_found);
  }
}

}  // namespace
}  // namespace caravan::cli
