// Meta's layout against the weights as transformers holds them: equal bits for 1 and 2 shards, split as LLaMA 2 and 3
// do.
#include "caravan/formats/meta_checkpoint.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "caravan/base/error.h"
#include "caravan/base/file.h"

namespace caravan::formats {
namespace {

namespace fs = std::filesystem;
const std::string kGolden = CARAVAN_SOURCE_DIR "/tests/golden/meta_checkpoint/";

void expect_equal(const Checkpoint& meta, const Checkpoint& expected) {
  ASSERT_EQ(meta.tensors().size(), expected.tensors().size());  // rope.freqs is gone
  for (const TensorInfo& wanted : expected.tensors()) {
    const TensorInfo* info = meta.find(wanted.name);
    ASSERT_NE(info, nullptr) << wanted.name;
    EXPECT_EQ(info->dtype, wanted.dtype);
    EXPECT_EQ(info->shape, wanted.shape) << wanted.name;
    const TensorBytes a = meta.read(wanted.name), b = expected.read(wanted.name);
    EXPECT_TRUE(std::ranges::equal(a.bytes, b.bytes)) << wanted.name;
  }
}

TEST(MetaCheckpoint, EveryLayoutEqualsTransformersWeights) {
  const auto expected = Checkpoint::open(kGolden + "expected.bin");
  for (const std::string name : {"llama2_1", "llama2_2", "llama3_2"}) {
    SCOPED_TRACE(name);
    const auto meta = Checkpoint::open(kGolden + name);
    EXPECT_EQ(meta->format(), "meta");
    expect_equal(*meta, *expected);
    meta->check();
  }
}

TEST(MetaCheckpoint, ConfigFollowsParamsAndShapes) {
  const Json config = Checkpoint::open(kGolden + "llama2_2")->config();
  EXPECT_EQ(config["model_type"], "llama");
  EXPECT_EQ(config["hidden_size"], 16);
  EXPECT_EQ(config["intermediate_size"], 24);
  EXPECT_EQ(config["num_hidden_layers"], 2);
  EXPECT_EQ(config["num_attention_heads"], 4);
  EXPECT_EQ(config["num_key_value_heads"], 2);
  EXPECT_EQ(config["vocab_size"], 10);  // params.json says -1
  EXPECT_EQ(config["tie_word_embeddings"], false);
  EXPECT_EQ(config["torch_dtype"], "bfloat16");
  EXPECT_FALSE(config.contains("rope_scaling"));
}

TEST(MetaCheckpoint, ScaledRotaryBecomesLlama3Scaling) {
  const Json config = Checkpoint::open(kGolden + "llama3_2")->config();
  EXPECT_EQ(config["rope_theta"], 500'000);
  EXPECT_EQ(config["max_position_embeddings"], 131'072);
  EXPECT_EQ(config["rope_scaling"]["rope_type"], "llama3");
  EXPECT_EQ(config["rope_scaling"]["factor"], 32);  // narrower than 4096: LLaMA 3.2
}

TEST(MetaCheckpoint, ContextLengthFollowsTheGeneration) {
  const auto length = [](Json json, int64_t vocab_size) {
    const MetaParams params{.dim = 4096, .layers = 1, .heads = 32, .kv_heads = 32, .head_dim = 128, .json = json};
    return make_meta_config(params, vocab_size, 1, false, DType::bf16)["max_position_embeddings"].get<int>();
  };
  EXPECT_EQ(length({{"norm_eps", 1e-6}}, 32'000), 2048);
  EXPECT_EQ(length({{"norm_eps", 1e-5}}, 32'000), 4096);
  EXPECT_EQ(length({{"norm_eps", 1e-5}, {"rope_theta", 1e6}}, 32'016), 16'384);
  EXPECT_EQ(length({{"norm_eps", 1e-5}, {"rope_theta", 5e5}}, 128'256), 8192);
  EXPECT_EQ(length({{"norm_eps", 1e-5}, {"rope_theta", 5e5}, {"use_scaled_rope", true}}, 128'256), 131'072);
}

// A copy of a golden that a test may break.
class MetaFolder : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "meta_" + std::to_string(getpid());
    fs::remove_all(folder_);
    fs::copy(kGolden + "llama2_2", folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  void set_param(const char* key, const Json& value) {
    Json params = parse_json(read_file(folder_ + "/params.json"), "params.json");
    params[key] = value;
    write_file(folder_ + "/params.json", dump_json(params));
  }
  FileFault fault() {
    try {
      (void)Checkpoint::open(folder_);
    } catch (const Error& e) {
      message_ = e.what();
      return e.fault();
    }
    return FileFault::none;
  }
  std::string folder_, message_;
};

TEST_F(MetaFolder, AMissingShardIsNamed) {
  fs::rename(folder_ + "/consolidated.01.pth", folder_ + "/consolidated.02.pth");
  EXPECT_EQ(fault(), FileFault::layout);
  EXPECT_NE(message_.find("consolidated.01.pth"), std::string::npos) << message_;
}

TEST_F(MetaFolder, OneShardOfTwoDoesNotFitParams) {
  fs::remove(folder_ + "/consolidated.01.pth");
  EXPECT_EQ(fault(), FileFault::layout);
}

TEST_F(MetaFolder, ParamsThatContradictTheTensorsAreRefused) {
  set_param("dim", 32);
  EXPECT_EQ(fault(), FileFault::layout);
}

TEST_F(MetaFolder, ParamsOutOfRangeAreRefused) {
  for (const auto& [key, value] : std::vector<std::pair<const char*, Json>>{
           {"n_heads", 0}, {"n_heads", 3}, {"n_kv_heads", 8}, {"n_kv_heads", 3}, {"n_layers", -1}, {"dim", 1 << 30}}) {
    SetUp();
    set_param(key, value);
    EXPECT_EQ(fault(), FileFault::range) << key << " " << value;
  }
}

TEST_F(MetaFolder, LayersBeyondParamsAreUnknownTensors) {
  set_param("n_layers", 1);
  EXPECT_EQ(fault(), FileFault::unsupported);
  EXPECT_NE(message_.find("layers.1.attention.wq.weight"), std::string::npos) << message_;
}

TEST_F(MetaFolder, ExpertsAreRefused) {
  set_param("moe", {{"num_experts", 8}});
  EXPECT_EQ(fault(), FileFault::unsupported);
}

}  // namespace
}  // namespace caravan::formats
