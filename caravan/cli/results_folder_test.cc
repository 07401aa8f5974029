#include "caravan/cli/results_folder.h"

#include <gtest/gtest.h>

#include "caravan/base/error.h"
#include "caravan/base/temporary_folder.h"

namespace caravan::cli {
namespace {

using Names = std::vector<std::string>;

Names names_in(const std::string& folder) { return list_folder(folder).value(); }

TEST(ResultsFolder, FilesAppearTogether) {
  const TemporaryFolder folder;
  const std::string path = folder / "a/b";
  {
    ResultsFolder out(path, "x.lock");
    write_file(out.staging() + "/last.json", "1");
    write_file(out.staging() + "/page.html", "1");
    EXPECT_EQ(names_in(path).size(), 2u);  // the lock, and what is being written
    out.commit("last.json");
  }
  EXPECT_EQ(names_in(path), (Names{"last.json", "page.html", "x.lock"}));
  {
    ResultsFolder out(path, "x.lock");
    write_file(out.staging() + "/page.html", "2");
  }
  EXPECT_EQ(read_file(path + "/page.html"), "1");  // not committed
  EXPECT_EQ(names_in(path), (Names{"last.json", "page.html", "x.lock"}));
}

TEST(ResultsFolder, NothingIsLeftOfWhatCameToNothing) {
  const TemporaryFolder folder;
  { const ResultsFolder out(folder / "a/b", "x.lock"); }
  EXPECT_TRUE(names_in(folder.path()).empty());
  write_file(folder / "mine.txt", "x");
  {
    ResultsFolder out(folder.path(), "x.lock");
    write_file(out.staging() + "/page.html", "1");
  }
  EXPECT_EQ(names_in(folder.path()), (Names{"mine.txt"}));
}

// Whoever is stopped while names are given leaves no last file: one of an earlier version would speak for the new ones.
TEST(ResultsFolder, TheLastFileGoesFirstAndComesLast) {
  const TemporaryFolder folder;
  write_file(folder / "last.json", "1");
  std::filesystem::create_directory(folder / "page.html");  // in the way
  write_file(folder / "page.html/x", "x");
  ResultsFolder out(folder.path(), "x.lock");
  write_file(out.staging() + "/last.json", "2");
  write_file(out.staging() + "/page.html", "2");
  EXPECT_THROW(out.commit("last.json"), Error);
  EXPECT_FALSE(file_exists(folder / "last.json"));
}

TEST(ResultsFolder, OneProcessAtATime) {
  const TemporaryFolder folder;
  const FileLock other(folder / "x.lock");
  try {
    const ResultsFolder out(folder.path(), "x.lock");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::busy);
  }
  EXPECT_TRUE(file_exists(folder / "x.lock"));
}

TEST(ResultsFolder, AFileInTheWayIsRefused) {
  const TemporaryFolder folder;
  write_file(folder / "a", "x");
  EXPECT_THROW(ResultsFolder(folder / "a", "x.lock"), Error);
  EXPECT_EQ(read_file(folder / "a"), "x");
}

}  // namespace
}  // namespace caravan::cli
