// The history of chats: what is kept, what is dropped, files that are in the way.
#include "caravan/cli/history_file.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <optional>

#include "caravan/base/file.h"

namespace caravan::cli {
namespace {

class HistoryFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "history.XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string path(const std::string& name) const { return (std::filesystem::path(folder_) / name).string(); }
  std::string folder_;
};

TEST_F(HistoryFiles, KeepEntriesWithLineBreaksInOrder) {
  HistoryFile(path("new/history")).append("one");
  HistoryFile(path("new/history")).append("two\nlines \"and\" \\ wörds");
  HistoryFile(path("new/history")).append("two\nlines \"and\" \\ wörds");  // not twice in a row
  EXPECT_EQ(HistoryFile(path("new/history")).load(), (std::vector<std::string>{"one", "two\nlines \"and\" \\ wörds"}));
  EXPECT_EQ(std::filesystem::status(path("new")).permissions(), std::filesystem::perms::owner_all);
}

TEST_F(HistoryFiles, StayWithinTheirLimits) {
  HistoryFile history(path("history"));
  std::string text;
  for (size_t i = 0; i < HistoryFile::kEntries; ++i) text += "\"" + std::to_string(i) + "\"\n";
  write_file(path("history"), text);
  history.append("new");
  EXPECT_EQ(history.load().size(), HistoryFile::kEntries);
  EXPECT_EQ(history.load().front(), "1");
  EXPECT_EQ(history.load().back(), "new");
  history.append(std::string(HistoryFile::kEntryBytes + 1, 'x'));
  EXPECT_EQ(history.load().back(), "new");
  for (char c = 'a'; c < 'a' + 20; ++c) history.append(std::string(HistoryFile::kEntryBytes, c));
  EXPECT_LE(std::filesystem::file_size(path("history")), HistoryFile::kBytes);
  EXPECT_EQ(history.load().back()[0], 'a' + 19);
}

TEST_F(HistoryFiles, ThatCannotBeReadOrWrittenAreNoError) {
  write_file(path("history"), "no json\n\"good\"\n{\"a\": 1}\n\"cut");
  EXPECT_EQ(HistoryFile(path("history")).load(), (std::vector<std::string>{"good"}));
  HistoryFile(path("history/below/a/file")).append("x");
  HistoryFile("").append("x");
  EXPECT_TRUE(HistoryFile("").load().empty());
}

TEST_F(HistoryFiles, LieWhereTheEnvironmentSays) {
  const auto value = [](const char* name) {
    const char* text = std::getenv(name);
    return text == nullptr ? std::optional<std::string>() : std::string(text);
  };
  const auto restore = [](const char* name, const std::optional<std::string>& text) {
    text.has_value() ? setenv(name, text->c_str(), 1) : unsetenv(name);
  };
  const auto state = value("XDG_STATE_HOME"), home = value("HOME");
  setenv("XDG_STATE_HOME", "/state", 1);
  EXPECT_EQ(HistoryFile::default_path(), "/state/caravan/chat_history");
  setenv("XDG_STATE_HOME", "relative", 1);
  setenv("HOME", "/home/me", 1);
  EXPECT_EQ(HistoryFile::default_path(), "/home/me/.local/state/caravan/chat_history");
  unsetenv("XDG_STATE_HOME");
  unsetenv("HOME");
  EXPECT_EQ(HistoryFile::default_path(), "");
  restore("XDG_STATE_HOME", state);
  restore("HOME", home);
}

}  // namespace
}  // namespace caravan::cli
