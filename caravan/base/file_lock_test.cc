// Locks between processes and within one; what is left of a process that was killed.
#include "caravan/base/file_lock.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <optional>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/temporary_folder.h"

namespace caravan {
namespace {

std::optional<Error> error_of_locking(const std::string& path) {
  try {
    const FileLock lock(path);
  } catch (const Error& error) {
    return error;
  }
  return std::nullopt;
}

TEST(FileLock, OneHolderAtATime) {
  const TemporaryFolder folder;
  const std::string path = folder / "run.lock";
  {
    const FileLock lock(path);
    const auto error = error_of_locking(path);
    ASSERT_TRUE(error.has_value());
    EXPECT_EQ(error->code(), ErrorCode::busy);
    EXPECT_NE(std::string(error->what()).find(fmt::format("process {} on ", getpid())), std::string::npos);
  }
  EXPECT_FALSE(error_of_locking(path));
  EXPECT_TRUE(file_exists(path));
}

TEST(FileLock, AKilledProcessHoldsNothing) {
  const TemporaryFolder folder;
  const std::string path = folder / "run.lock";
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(60);  // where the test fails nobody kills it
    const FileLock lock(path);
    const bool told = write(ready[1], "x", 1) == 1;
    for (; told;) pause();
    _exit(1);
  }
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  EXPECT_EQ(error_of_locking(path).value_or(Error(ErrorCode::internal, "none")).code(), ErrorCode::busy);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_FALSE(error_of_locking(path));
  close(ready[0]);
  close(ready[1]);
}

TEST(FileLock, SaysWhyItCannotBeOpened) {
  const TemporaryFolder folder;
  const auto error = error_of_locking(folder / "missing/run.lock");
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->code(), ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace caravan
