#include "caravan/formats/checkpoint.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/formats/writer.h"

namespace caravan::formats {
namespace {

ErrorCode open_error(const std::string& path) {
  try {
    Checkpoint::open(path);
  } catch (const Error& e) {
    return e.code();
  }
  return ErrorCode::internal;
}

TEST(Checkpoint, APathThatIsNoCheckpointIsAClearError) {
  const AtomicFolder folder(::testing::TempDir() + "caravan_open_" + std::to_string(getpid()));
  EXPECT_EQ(open_error(folder.path()), ErrorCode::not_found);
  EXPECT_EQ(open_error(folder.path() + "/absent"), ErrorCode::not_found);
  write_file(folder.path() + "/note.txt", "no model here");
  EXPECT_EQ(open_error(folder.path() + "/note.txt"), ErrorCode::corrupt_file);
}

TEST(CheckpointWriter, AnUnknownFormatIsRefused) {
  EXPECT_THROW(CheckpointWriter::create("x", {}, Json::object(), {.format = "tar"}), Error);
}

}  // namespace
}  // namespace caravan::formats
