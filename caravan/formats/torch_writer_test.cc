// What is written is read back with equal bits, through the public interfaces; torch.load's word on the same files is
// in scripts/differential_torch.py.
#include "caravan/formats/torch_writer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/formats/torch_checkpoint.h"

namespace caravan::formats {
namespace {

std::vector<std::byte> counting_bytes(const TensorInfo& tensor, int seed) {
  std::vector<std::byte> bytes(static_cast<size_t>(tensor_bytes(tensor.dtype, tensor.shape, tensor.name)));
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 7 + static_cast<size_t>(seed));
  return bytes;
}

std::vector<TensorInfo> plan_of_all_dtypes() {
  std::vector<TensorInfo> plan;
  for (DType dtype : {DType::f64, DType::f32, DType::f16, DType::bf16, DType::i64, DType::i32, DType::i16, DType::i8,
                      DType::u8, DType::boolean, DType::u16, DType::u32, DType::u64, DType::f8_e4m3, DType::f8_e5m2}) {
    plan.push_back({"t." + std::string(to_string(dtype)), dtype, {2, 3}});
  }
  plan.push_back({"scalar", DType::f32, {}});
  plan.push_back({"empty", DType::f32, {0, 4}});
  plan.push_back({"long", DType::u8, {300, 1000}});  // its numel takes a 4-byte integer
  return plan;
}

void write_all(const std::string& path, const std::vector<TensorInfo>& plan, int64_t max_shard_bytes) {
  const Json config = {{"model_type", "llama"}, {"vocab_size", 3}};
  auto writer = CheckpointWriter::create(
      path, plan, config,
      {.format = "torch", .max_shard_bytes = max_shard_bytes, .side_files = {{"tokenizer.json", "{}"}}});
  for (size_t i = 0; i < plan.size(); ++i) writer->write(plan[i].name, counting_bytes(plan[i], static_cast<int>(i)));
  writer->finish();
}

void expect_equal(const std::string& path, const std::vector<TensorInfo>& plan) {
  const auto checkpoint = Checkpoint::open(path);
  EXPECT_EQ(checkpoint->format(), "torch");
  EXPECT_EQ(checkpoint->config()["vocab_size"], 3);
  EXPECT_EQ(checkpoint->side_file("tokenizer.json"), "{}");
  ASSERT_EQ(checkpoint->tensors().size(), plan.size());
  for (size_t i = 0; i < plan.size(); ++i) {
    EXPECT_EQ(checkpoint->tensors()[i].name, plan[i].name);
    EXPECT_EQ(checkpoint->tensors()[i].dtype, plan[i].dtype);
    EXPECT_EQ(checkpoint->tensors()[i].shape, plan[i].shape);
    const TensorBytes read = checkpoint->read(plan[i].name);
    const auto wanted = counting_bytes(plan[i], static_cast<int>(i));
    ASSERT_EQ(read.bytes.size(), wanted.size());
    EXPECT_TRUE(std::equal(wanted.begin(), wanted.end(), read.bytes.begin())) << plan[i].name;
  }
  dynamic_cast<TorchCheckpoint&>(*checkpoint).verify();
}

class TorchWriter : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "torch_writer_" + std::to_string(getpid());
    std::filesystem::remove_all(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string folder_;
};

TEST_F(TorchWriter, EveryDTypeComesBackWithEqualBits) {
  write_all(folder_, plan_of_all_dtypes(), 1 << 30);
  EXPECT_TRUE(file_exists(folder_ + "/pytorch_model.bin"));
  expect_equal(folder_, plan_of_all_dtypes());
}

TEST_F(TorchWriter, ShardsComeBackThroughTheirIndex) {
  write_all(folder_, plan_of_all_dtypes(), 100);
  EXPECT_TRUE(file_exists(folder_ + "/pytorch_model.bin.index.json"));
  EXPECT_TRUE(file_exists(folder_ + "/pytorch_model-00001-of-00005.bin"));
  expect_equal(folder_, plan_of_all_dtypes());
}

TEST_F(TorchWriter, StorageBeginsAtAMultipleOf64Bytes) {
  write_all(folder_, plan_of_all_dtypes(), 1 << 30);
  const ZipReader zip(MappedFile::open(folder_ + "/pytorch_model.bin"));
  ASSERT_GT(zip.entries().size(), 18u);
  for (const ZipEntry& entry : zip.entries()) EXPECT_EQ(entry.data % 64, 0u) << entry.name;
}

TEST_F(TorchWriter, NothingIsVisibleBeforeFinish) {
  const std::vector<TensorInfo> plan = {{"a", DType::f32, {2}}};
  {
    auto writer = CheckpointWriter::create(folder_, plan, Json::object(), {.format = "torch"});
    writer->write("a", counting_bytes(plan[0], 0));
    EXPECT_FALSE(std::filesystem::exists(folder_));
  }
  EXPECT_FALSE(std::filesystem::exists(folder_));
}

TEST_F(TorchWriter, BlockQuantizedTensorsAreRefused) {
  try {
    (void)CheckpointWriter::create(folder_, {{"a", DType::q4_0, {32}}}, Json::object(), {.format = "torch"});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::unsupported);
  }
}

}  // namespace
}  // namespace caravan::formats
