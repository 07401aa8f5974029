// What --overwrite takes away, and what it must leave.
#include "caravan/train/run_folder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <functional>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/message_of.h"
#include "caravan/base/temporary_folder.h"

namespace caravan::train {
namespace {

constexpr const char* kWritten[] = {"config.toml",
                                    "metrics.jsonl",
                                    "report.html",
                                    "tensorboard/events.out.tfevents.1.caravan",
                                    "checkpoints/step-00000004/manifest.json",
                                    "checkpoints/step-00000004/model/config.json",
                                    "final/model.safetensors",
                                    "final/config.json",
                                    "final/codes.json",
                                    "best/model.safetensors"};

// A folder as a run leaves it.
class RunFolder : public ::testing::Test {
 protected:
  RunFolder() {
    for (const char* name : kWritten) add(name);
  }
  void add(std::string_view name) {
    std::filesystem::create_directories(std::filesystem::path(folder_ / name).parent_path());
    write_file(folder_ / name, "x");
  }
  bool is_whole() const {
    return std::all_of(std::begin(kWritten), std::end(kWritten),
                       [&](const char* name) { return file_exists(folder_ / name); });
  }
  TemporaryFolder folder_;
};

TEST_F(RunFolder, AllThatARunWroteGoesAndNothingElse) {
  add("notes.txt");
  add("tensorboard/events.out.tfevents.2.other");
  add("checkpoints/mine/weights.bin");
  EXPECT_TRUE(holds_run(folder_.path()));
  {
    const auto lock = lock_run_folder(folder_.path());
    remove_run(folder_.path(), {{"data.train", folder_ / "notes.txt"}, {"model.path", ""}});
  }
  for (const char* name : kWritten) EXPECT_FALSE(file_exists(folder_ / name)) << name;
  EXPECT_FALSE(is_folder(folder_ / "final") || is_folder(folder_ / "best"));
  for (const char* name :
       {"notes.txt", "tensorboard/events.out.tfevents.2.other", "checkpoints/mine/weights.bin", "run.lock"})
    EXPECT_TRUE(file_exists(folder_ / name)) << name;
}

TEST_F(RunFolder, AModelFolderWithFilesOfSomebodyElseStays) {
  add("best/notes.txt");
  EXPECT_TRUE(has(message_of([&] { remove_run(folder_.path(), {}); }), "best holds 'notes.txt'"));
  EXPECT_TRUE(is_whole());
  std::filesystem::rename(folder_ / "best/notes.txt", folder_ / "notes.txt");
  add("final/tokenizer_of_mine/vocab.json");  // a folder, whatever its name
  EXPECT_TRUE(has(message_of([&] { remove_run(folder_.path(), {}); }), "final holds 'tokenizer_of_mine'"));
  EXPECT_TRUE(is_whole());
}

TEST_F(RunFolder, WhatTheNewRunReadsStays) {
  for (const std::string path : {"final", "best/../best/", "checkpoints/step-00000004/model", "final/codes.json"}) {
    const std::string message = message_of([&] { remove_run(folder_.path(), {{"model.path", folder_ / path}}); });
    EXPECT_TRUE(has(message, "model.path = ") && has(message, "another --output")) << path << ": " << message;
  }
  EXPECT_TRUE(is_whole());
}

TEST_F(RunFolder, ModelsAloneAreARun) {
  std::filesystem::remove_all(folder_ / "checkpoints");
  std::filesystem::remove_all(folder_ / "best");
  EXPECT_TRUE(holds_run(folder_.path()));
  std::filesystem::remove_all(folder_ / "final");
  EXPECT_FALSE(holds_run(folder_.path()));
  std::filesystem::create_directories(folder_ / "checkpoints");
  EXPECT_FALSE(holds_run(folder_.path()));
  EXPECT_FALSE(holds_run(folder_ / "nothing"));
  remove_run(folder_ / "nothing", {});
}

}  // namespace
}  // namespace caravan::train
