// Safetensors folders: written, read back, sharded, and broken in the ways an index can be.
#include "caravan/formats/safetensors_checkpoint.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <functional>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/temporary_folder.h"
#include "caravan/formats/safetensors_writer.h"

namespace caravan::formats {
namespace {

std::vector<std::byte> pattern(const TensorInfo& t) {
  std::vector<std::byte> bytes(static_cast<size_t>(tensor_bytes(t.dtype, t.shape, t.name)));
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 7 + t.name.size());
  return bytes;
}

const std::vector<TensorInfo> kPlan = {{"model.embed.weight", DType::bf16, {4, 3}},
                                       {"model.mask", DType::u8, {3}},
                                       {"model.empty", DType::f32, {0, 7}},
                                       {"lm_head.weight", DType::f32, {4, 2}},
                                       {"scale", DType::f64, {}}};

void write_all(const std::string& path, WriteOptions options = {}) {
  const Json config = {{"model_type", "llama"}, {"unknown_key", {1, 2}}};
  auto writer = CheckpointWriter::create(path, kPlan, config, options);
  for (const TensorInfo& t : kPlan) writer->write(t.name, pattern(t));
  writer->finish();
}

void expect_all(const Checkpoint& checkpoint) {
  ASSERT_EQ(checkpoint.tensors().size(), kPlan.size());
  for (const TensorInfo& t : kPlan) {
    const TensorInfo* found = checkpoint.find(t.name);
    ASSERT_NE(found, nullptr) << t.name;
    EXPECT_EQ(found->dtype, t.dtype);
    EXPECT_EQ(found->shape, t.shape);
    const TensorBytes read = checkpoint.read(t.name);
    const std::vector<std::byte> expected = pattern(t);
    EXPECT_TRUE(std::equal(read.bytes.begin(), read.bytes.end(), expected.begin(), expected.end())) << t.name;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(read.bytes.data()) % static_cast<uintptr_t>(dtype_info(t.dtype).block_bytes),
              0u);
  }
  checkpoint.check();
}

Error error_of(const std::string& path) {
  try {
    Checkpoint::open(path);
  } catch (const Error& e) {
    return e;
  }
  return Error(ErrorCode::internal, "no error");
}

TEST(Safetensors, AFolderReadsBackBitExactly) {
  const TemporaryFolder folder;
  write_all(folder / "m", {.side_files = {{"tokenizer.json", "{}"}, {"chat_template.jinja", "hello"}}});
  const auto checkpoint = Checkpoint::open(folder / "m/");
  expect_all(*checkpoint);
  EXPECT_EQ(checkpoint->format(), "safetensors");
  EXPECT_EQ(checkpoint->config()["unknown_key"][1], 2);
  EXPECT_EQ(checkpoint->side_file("chat_template.jinja"), "hello");
  EXPECT_EQ(checkpoint->side_file("vocab.txt"), "");
  EXPECT_THROW(checkpoint->side_file("../m/config.json"), Error);
  EXPECT_THROW(checkpoint->read("absent"), Error);
}

TEST(Safetensors, ABareFileFindsTheFilesBesideIt) {
  const TemporaryFolder folder;
  write_all(folder / "m", {.side_files = {{"tokenizer.json", "{}"}}});
  const auto checkpoint = Checkpoint::open(folder / "m/model.safetensors");
  expect_all(*checkpoint);
  EXPECT_EQ(checkpoint->config()["model_type"], "llama");
  EXPECT_EQ(checkpoint->side_file("tokenizer.json"), "{}");
}

TEST(Safetensors, FilesAreRecognizedByTheirContents) {
  const TemporaryFolder folder;
  auto file = create_safetensors_file(folder / "weights.dat", {kPlan[0]}, {});
  file->write(kPlan[0], pattern(kPlan[0]));
  file->commit();
  EXPECT_EQ(Checkpoint::open(folder / "weights.dat")->tensors().size(), 1u);
  EXPECT_TRUE(Checkpoint::open(folder / "weights.dat")->config().empty());
  write_file(folder / "broken.safetensors", "");  // nothing to recognize: the extension says whose error it is
  EXPECT_EQ(error_of(folder / "broken.safetensors").fault(), FileFault::truncated);
}

TEST(Safetensors, ShardsReadBackAndTheOldFolderIsReplacedWhole) {
  const TemporaryFolder folder;
  write_all(folder / "m");
  write_all(folder / "m", {.max_shard_bytes = 30});
  EXPECT_FALSE(file_exists(folder / "m/model.safetensors"));
  EXPECT_TRUE(file_exists(folder / "m/model-00001-of-00003.safetensors"));
  expect_all(*Checkpoint::open(folder / "m"));
  expect_all(*Checkpoint::open(folder / "m/model.safetensors.index.json"));
  const Json index = parse_json(read_file(folder / "m/model.safetensors.index.json"), "index");
  EXPECT_EQ(index["metadata"]["total_size"], 24 + 3 + 32 + 8);
  EXPECT_EQ(index["weight_map"]["scale"], "model-00003-of-00003.safetensors");
}

class BrokenIndex : public ::testing::Test {
 protected:
  void SetUp() override {
    write_all(folder_ / "m", {.max_shard_bytes = 30});
    index_ = parse_json(read_file(path_), "index");
  }
  Error error_with(const std::function<void(Json&)>& change) {
    Json index = index_;
    change(index);
    write_file(path_, dump_json(index));
    return error_of(folder_ / "m");
  }
  TemporaryFolder folder_;
  std::string path_ = folder_ / "m/model.safetensors.index.json";
  Json index_;
};

TEST_F(BrokenIndex, PathsThatLeaveTheFolderAreRefused) {
  for (const char* name : {"/etc/passwd", "../model.safetensors", "..", ".", "a/b", "", "a\\b"}) {
    EXPECT_EQ(error_with([&](Json& j) { j["weight_map"]["scale"] = name; }).fault(), FileFault::path) << name;
  }
  EXPECT_EQ(error_with([&](Json& j) { j["weight_map"]["scale"] = std::string("a\0b", 3); }).fault(), FileFault::path);
}

TEST_F(BrokenIndex, AMissingShardIsNamed) {
  const Error e = error_with([](Json& j) { j["weight_map"]["scale"] = "model-00009-of-00009.safetensors"; });
  EXPECT_EQ(e.code(), ErrorCode::not_found);
  EXPECT_NE(std::string(e.what()).find("model-00009-of-00009.safetensors"), std::string::npos);
}

TEST_F(BrokenIndex, DisagreementWithTheShardsIsListed) {
  const Error missing = error_with([](Json& j) { j["weight_map"]["ghost"] = "model-00001-of-00003.safetensors"; });
  EXPECT_EQ(missing.fault(), FileFault::layout);
  EXPECT_NE(std::string(missing.what()).find("ghost"), std::string::npos);
  EXPECT_EQ(error_with([](Json& j) { j["weight_map"].erase("model.mask"); }).fault(), FileFault::layout);
  EXPECT_EQ(error_with([](Json& j) { j["weight_map"]["scale"] = "model-00001-of-00003.safetensors"; }).fault(),
            FileFault::layout);
  std::filesystem::copy_file(folder_ / "m/model-00003-of-00003.safetensors", folder_ / "m/copy.safetensors");
  EXPECT_EQ(error_with([](Json& j) { j["weight_map"]["other"] = "copy.safetensors"; }).fault(), FileFault::duplicate);
}

TEST_F(BrokenIndex, OtherKindsOfValuesAreRefused) {
  EXPECT_EQ(error_with([](Json& j) { j["weight_map"]["scale"] = 3; }).fault(), FileFault::type);
  EXPECT_EQ(error_with([](Json& j) { j["weight_map"] = Json::array(); }).fault(), FileFault::type);
  EXPECT_EQ(error_with([](Json& j) { j.erase("weight_map"); }).fault(), FileFault::type);
  EXPECT_EQ(error_with([](Json& j) { j = 5; }).fault(), FileFault::type);
}

TEST(SafetensorsWriter, MistakesOfTheCallerAreErrors) {
  const TemporaryFolder folder;
  auto writer = CheckpointWriter::create(folder / "m", kPlan, Json::object(), {});
  EXPECT_THROW(writer->write("lm_head.weight", pattern(kPlan[3])), Error);  // not its turn
  EXPECT_THROW(writer->write(kPlan[0].name, pattern(kPlan[1])), Error);     // size
  EXPECT_THROW(writer->finish(), Error);
  writer.reset();
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  EXPECT_THROW(CheckpointWriter::create(folder / "m", {{"q", DType::q8_0, {32}}}, Json::object(), {}), Error);
  EXPECT_THROW(CheckpointWriter::create(folder / "m", {kPlan[0], kPlan[0]}, Json::object(), {}), Error);
  EXPECT_THROW(CheckpointWriter::create(folder / "m", {}, Json::object(), {.side_files = {{"../x", ""}}}), Error);
  EXPECT_THROW(CheckpointWriter::create(folder / "absent/m", {}, Json::object(), {}), Error);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(SafetensorsWriter, AFolderWithOtherFilesIsNotReplaced) {
  const TemporaryFolder folder;
  write_file(folder / "thesis.odt", "years of work");
  EXPECT_THROW(CheckpointWriter::create(folder.path(), {}, Json::object(), {}), Error);
  EXPECT_EQ(read_file(folder / "thesis.odt"), "years of work");
}

}  // namespace
}  // namespace caravan::formats
