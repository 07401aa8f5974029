// Saving and opening checkpoints while file system calls fail one by one, and while the process dies at each of them:
// what stands under the final name is always the whole old checkpoint or the whole new one.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "caravan/base/error.h"
#include "caravan/base/faulty_file_system.h"
#include "caravan/base/temporary_folder.h"
#include "caravan/formats/checkpoint.h"
#include "caravan/formats/writer.h"

namespace caravan::formats {
namespace {

const std::vector<TensorInfo> kPlan = {{"model.embed_tokens.weight", DType::f32, {8, 4}},
                                       {"model.layers.0.mlp.up_proj.weight", DType::f32, {4, 4}},
                                       {"model.norm.weight", DType::f32, {4}}};

void save(const std::string& path, const std::string& format, uint8_t fill) {
  const WriteOptions options{
      .format = format, .max_shard_bytes = 100, .side_files = {{"tokenizer.json", std::string(1, 'a' + fill)}}};
  const auto writer = CheckpointWriter::create(path, kPlan, {{"fill", fill}}, options);
  for (const TensorInfo& t : kPlan) {
    writer->write(t.name,
                  std::vector<std::byte>(static_cast<size_t>(tensor_bytes(t.dtype, t.shape, t.name)), std::byte{fill}));
  }
  writer->finish();
}

// Which checkpoint it is, after looking at all of it; -1 for a mixture.
int fill_of(const std::string& path) {
  const auto checkpoint = Checkpoint::open(path);
  const int fill = checkpoint->config()["fill"].get<int>();
  bool is_whole = checkpoint->tensors().size() == kPlan.size() &&
                  checkpoint->side_file("tokenizer.json") == std::string(1, 'a' + fill);
  for (const TensorInfo& t : checkpoint->tensors()) {
    const TensorBytes read = checkpoint->read(t.name);
    for (const std::byte b : read.bytes) is_whole &= b == static_cast<std::byte>(fill);
  }
  checkpoint->check();
  return is_whole ? fill : -1;
}

class CheckpointFaults : public ::testing::TestWithParam<const char*> {
 protected:
  // Without waiting for the disk: a file system that never fails and does not flush.
  void restore() {
    FaultyFileSystem calm(INT64_MAX, {});
    const ScopedFileSystem scope(calm);
    save(path_, GetParam(), 1);
  }
  TemporaryFolder folder_;
  std::string path_ = folder_ / "model";
};

TEST_P(CheckpointFaults, AFailedSaveLeavesTheOldCheckpoint) {
  restore();
  const int runs = for_every_fault([&] { save(path_, GetParam(), 2); },
                                   [&](bool succeeded) {
                                     const int now = fill_of(path_);
                                     EXPECT_TRUE(now == 2 || (now == 1 && !succeeded)) << now;
                                     if (now != 1) restore();
                                   });
  EXPECT_GT(runs, 100);
}

TEST_P(CheckpointFaults, AKilledSaveLeavesTheOldOrTheNewCheckpoint) {
  restore();
  const int calls = for_every_death([&] { save(path_, GetParam(), 2); },
                                    [&] {
                                      const int now = fill_of(path_);
                                      EXPECT_TRUE(now == 1 || now == 2) << now;
                                      if (now != 1) restore();
                                    });
  EXPECT_GT(calls, 20);
}

TEST_P(CheckpointFaults, AFailedFirstSaveLeavesNothingThatOpens) {
  for_every_fault([&] { save(path_, GetParam(), 2); },
                  [&](bool succeeded) {
                    const bool exists = std::filesystem::exists(path_);
                    EXPECT_TRUE(exists || !succeeded);
                    if (exists) {
                      EXPECT_EQ(fill_of(path_), 2);
                    }
                    std::filesystem::remove_all(path_);
                  });
}

TEST_P(CheckpointFaults, AFailedReadIsAnError) {
  restore();
  int fill = 0;
  const int runs =
      for_every_fault([&] { fill = fill_of(path_); }, [&](bool succeeded) { EXPECT_TRUE(!succeeded || fill == 1); });
  EXPECT_GT(runs, 20);
}

INSTANTIATE_TEST_SUITE_P(Formats, CheckpointFaults, ::testing::Values("safetensors", "flax", "torch"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace caravan::formats
