// Written files are read back with the reader (whose own oracle is transformers) and compared byte by byte.
#include "caravan/formats/gguf_writer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>

#include "caravan/base/error.h"
#include "caravan/base/faulty_file_system.h"
#include "caravan/base/temporary_folder.h"
#include "caravan/formats/cast.h"
#include "caravan/formats/convert.h"
#include "caravan/formats/gguf_checkpoint.h"
#include "caravan/formats/gguf_vocabulary.h"

namespace caravan::formats {
namespace {

using Shape = std::vector<int64_t>;
using Fields = std::vector<std::pair<std::string, GgufValue>>;

constexpr int64_t kWidth = 64, kHeads = 4, kKvHeads = 2, kHeadDim = 16, kInner = 96, kVocab = 10;

Json config_of(const std::string& model_type) {
  return {{"architectures", {"X"}},
          {"model_type", model_type},
          {"hidden_size", kWidth},
          {"intermediate_size", kInner},
          {"num_hidden_layers", 1},
          {"num_attention_heads", kHeads},
          {"num_key_value_heads", kKvHeads},
          {"head_dim", kHeadDim},
          {"max_position_embeddings", 256},
          {"rms_norm_eps", 0.25},
          {"rope_theta", 10000.0},
          {"vocab_size", kVocab},
          {"hidden_act", "silu"},
          {"tie_word_embeddings", true},
          {"_name_or_path", "some/where/tiny"}};
}

std::vector<TensorInfo> plan_of(DType matrices, DType vectors, bool with_biases) {
  const std::string layer = "model.layers.0.";
  std::vector<TensorInfo> plan = {{"model.embed_tokens.weight", matrices, {kVocab, kWidth}},
                                  {layer + "input_layernorm.weight", vectors, {kWidth}},
                                  {layer + "self_attn.q_proj.weight", matrices, {kHeads * kHeadDim, kWidth}},
                                  {layer + "self_attn.k_proj.weight", matrices, {kKvHeads * kHeadDim, kWidth}},
                                  {layer + "self_attn.v_proj.weight", matrices, {kKvHeads * kHeadDim, kWidth}},
                                  {layer + "self_attn.o_proj.weight", matrices, {kWidth, kHeads * kHeadDim}},
                                  {layer + "post_attention_layernorm.weight", vectors, {kWidth}},
                                  {layer + "mlp.gate_proj.weight", matrices, {kInner, kWidth}},
                                  {layer + "mlp.up_proj.weight", matrices, {kInner, kWidth}},
                                  {layer + "mlp.down_proj.weight", matrices, {kWidth, kInner}},
                                  {"model.norm.weight", vectors, {kWidth}}};
  if (with_biases) {
    plan.push_back({layer + "self_attn.q_proj.bias", vectors, {kHeads * kHeadDim}});
    plan.push_back({layer + "self_attn.k_proj.bias", vectors, {kKvHeads * kHeadDim}});
    plan.push_back({layer + "self_attn.v_proj.bias", vectors, {kKvHeads * kHeadDim}});
  }
  return plan;
}

// Bytes that differ everywhere; as f16 or bf16 they are finite.
std::vector<std::byte> bytes_for(const TensorInfo& t) {
  std::vector<std::byte> bytes(static_cast<size_t>(tensor_bytes(t.dtype, t.shape, t.name)));
  uint32_t state = static_cast<uint32_t>(std::hash<std::string>{}(t.name));
  for (std::byte& b : bytes) b = static_cast<std::byte>((state = state * 1664525 + 1013904223) >> 24 & 0x3f);
  return bytes;
}

void write_model(const std::string& path, const std::vector<TensorInfo>& plan, const Json& config,
                 Fields metadata = {}) {
  const auto writer =
      CheckpointWriter::create(path, plan, config, {.format = "gguf", .gguf_metadata = std::move(metadata)});
  for (const TensorInfo& t : plan) writer->write(t.name, bytes_for(t));
  writer->finish();
}

class GgufWriterTest : public ::testing::Test {
 protected:
  // Writes with this scaling, reads the config back.
  Json round_trip(Json scaling, const std::string& model_type = "llama") {
    Json config = config_of(model_type);
    config["rope_scaling"] = std::move(scaling);
    write_model(path_, plan_of(DType::f32, DType::f32, false), config);
    const Json made = Checkpoint::open(path_)->config();
    return made.contains("rope_scaling") ? made["rope_scaling"] : Json();
  }
  ErrorCode error_of(const Json& config, const std::vector<TensorInfo>& plan) {
    try {
      write_model(path_, plan, config);
    } catch (const Error& e) {
      message_ = e.what();
      return e.code();
    }
    return ErrorCode::internal;
  }
  TemporaryFolder folder_;
  std::string path_ = folder_ / "model.gguf", message_;
};

TEST_F(GgufWriterTest, WhatIsWrittenReadsBackUnchanged) {
  for (const char* model_type : {"llama", "mistral", "qwen2", "qwen3"}) {
    for (DType dtype : {DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_0}) {
      const DType vectors = is_block_quantized(dtype) ? DType::bf16 : dtype;
      const std::vector<TensorInfo> plan = plan_of(dtype, vectors, true);
      write_model(path_, plan, config_of(model_type));
      const auto checkpoint = Checkpoint::open(path_);
      ASSERT_EQ(checkpoint->tensors().size(), plan.size());
      for (const TensorInfo& t : plan) {
        const TensorInfo* found = checkpoint->find(t.name);
        ASSERT_NE(found, nullptr) << t.name;
        EXPECT_EQ(found->shape, t.shape);
        EXPECT_EQ(found->dtype, t.shape.size() == 1 ? DType::f32 : dtype) << t.name;
        std::vector<std::byte> expected = bytes_for(t);
        if (found->dtype != t.dtype) {
          std::vector<std::byte> widened(static_cast<size_t>(t.shape[0]) * 4);
          cast_elements(t.dtype, expected, DType::f32, widened);
          expected = widened;
        }
        const TensorBytes read = checkpoint->read(t.name);
        EXPECT_TRUE(std::ranges::equal(read.bytes, expected)) << model_type << " " << to_string(dtype) << " " << t.name;
      }
    }
  }
}

TEST_F(GgufWriterTest, TheConfigSurvives) {
  for (const std::string model_type : {"llama", "mistral", "qwen2", "qwen3"}) {
    Json config = config_of(model_type);
    if (model_type == "mistral") config["sliding_window"] = 32;
    write_model(path_, plan_of(DType::bf16, DType::bf16, false), config);
    const Json made = Checkpoint::open(path_)->config();
    EXPECT_EQ(made["model_type"], model_type);
    for (const char* key : {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                            "num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps", "rope_theta",
                            "vocab_size", "hidden_act", "tie_word_embeddings"}) {
      EXPECT_EQ(made[key], config[key]) << model_type << " " << key;
    }
    EXPECT_EQ(made["_name_or_path"], "tiny");
    EXPECT_EQ(made["torch_dtype"], "bfloat16");
    EXPECT_EQ(made.contains("sliding_window"), model_type == "mistral");
  }
}

// q row j * D/2 + i of a head is stored as row 2i + j: checked on the file itself, not through the reader's inverse.
TEST_F(GgufWriterTest, QueryRowsAreStoredInRotatingPairs) {
  const std::vector<TensorInfo> plan = plan_of(DType::f32, DType::f32, true);
  for (const char* model_type : {"llama", "qwen2"}) {
    write_model(path_, plan, config_of(model_type));
    const auto file = GgufFile::open(path_);
    for (const auto& [stored_name, source] :
         {std::pair{"blk.0.attn_q.weight", plan[2]}, {"blk.0.attn_q.bias", plan[11]}}) {
      const std::vector<std::byte> original = bytes_for(source);
      const size_t row = original.size() / static_cast<size_t>(kHeads * kHeadDim);
      const std::span<const std::byte> stored = file->find_tensor(stored_name)->bytes;
      for (size_t r = 0; r < static_cast<size_t>(kHeads * kHeadDim); ++r) {
        const size_t head = r / kHeadDim, j = r % kHeadDim / (kHeadDim / 2), i = r % (kHeadDim / 2);
        const size_t at = std::string(model_type) == "llama" ? head * kHeadDim + 2 * i + j : r;
        ASSERT_EQ(std::memcmp(stored.data() + at * row, original.data() + r * row, row), 0)
            << stored_name << " row " << r;
      }
    }
  }
}

TEST_F(GgufWriterTest, RotaryScalingsSurvive) {
  const auto same = [&](const std::string& text) {
    const Json scaling = parse_json(text, "scaling");
    EXPECT_EQ(dump_json(round_trip(scaling)), dump_json(scaling));
  };
  same(R"({"rope_type": "linear", "factor": 4.0})");
  same(R"({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64})");
  same(
      R"({"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 64, "beta_fast": 16.0, "beta_slow": 2.0})");
  same(R"({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
           "original_max_position_embeddings": 8192})");
  same(R"({"rope_type": "longrope", "attention_factor": 1.5, "short_factor": [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
           "long_factor": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], "original_max_position_embeddings": 64})");
  Json yarn = {
      {"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 64}, {"attention_factor", 1.25}};
  EXPECT_NEAR(round_trip(yarn)["attention_factor"].get<double>(), 1.25, 1e-6);
  EXPECT_TRUE(round_trip({{"rope_type", "default"}}).is_null());

  Json v5 = config_of("llama");  // transformers 5 keeps everything in rope_parameters
  v5.erase("rope_theta");
  v5["rope_parameters"] = {{"rope_type", "linear"}, {"factor", 2.0}, {"rope_theta", 500000.0}};
  write_model(path_, plan_of(DType::f32, DType::f32, false), v5);
  EXPECT_EQ(Checkpoint::open(path_)->config()["rope_theta"], 500000.0);
  EXPECT_EQ(Checkpoint::open(path_)->config()["rope_scaling"]["factor"], 2.0);
}

TEST_F(GgufWriterTest, GivenMetadataWinsAndTokensArePaddedToTheEmbedding) {
  const Fields metadata = {{"general.name", std::string("mine")},
                           {"tokenizer.ggml.tokens", std::vector<std::string>{"a", "b"}},
                           {"tokenizer.ggml.scores", std::vector<float>{0, -1}},
                           {"tokenizer.ggml.token_type", std::vector<int32_t>{1, 1}},
                           {"tokenizer.ggml.precompiled_charsmap", std::vector<uint8_t>{1, 2, 3}},
                           {"tokenizer.ggml.add_bos_token", true}};
  write_model(path_, plan_of(DType::f32, DType::f32, false), config_of("llama"), metadata);
  const auto file = GgufFile::open(path_);
  EXPECT_EQ(file->get_string("general.name"), "mine");
  const std::vector<std::string> tokens = file->get_strings("tokenizer.ggml.tokens");
  ASSERT_EQ(tokens.size(), static_cast<size_t>(kVocab));
  EXPECT_EQ(tokens[1] + tokens[2] + tokens.back(), "b[PAD2][PAD9]");
  EXPECT_EQ(file->get_ints("tokenizer.ggml.token_type")[2], 5);
  EXPECT_EQ(file->get_floats("tokenizer.ggml.scores").size(), static_cast<size_t>(kVocab));

  const Fields copied = gguf_tokenizer_fields(*file);
  const std::string again = folder_ / "again.gguf";
  write_model(again, plan_of(DType::f32, DType::f32, false), config_of("llama"), copied);
  const auto second = GgufFile::open(again);
  for (const GgufField& field : file->fields()) {
    if (!field.key.starts_with("tokenizer.")) continue;
    const GgufField* other = second->find(field.key);
    ASSERT_NE(other, nullptr) << field.key;
    EXPECT_EQ(other->element, field.element) << field.key;
    EXPECT_TRUE(std::ranges::equal(other->bytes, field.bytes)) << field.key;
  }
}

TEST_F(GgufWriterTest, ConvertingAGgufKeepsItsVocabularyAndBytes) {
  const std::vector<TensorInfo> plan = plan_of(DType::q8_0, DType::f32, false);
  write_model(path_, plan, config_of("llama"), {{"tokenizer.ggml.tokens", std::vector<std::string>(kVocab, "t")}});
  const std::string copy = folder_ / "copy.gguf";
  convert(*Checkpoint::open(path_), copy, {.write = {.format = "gguf"}});
  EXPECT_EQ(read_file(copy), read_file(path_));
}

TEST_F(GgufWriterTest, WhatGgufCannotHoldIsRefused) {
  const std::vector<TensorInfo> plan = plan_of(DType::f32, DType::f32, false);
  EXPECT_EQ(error_of(config_of("gpt2"), plan), ErrorCode::unsupported);
  EXPECT_NE(message_.find("qwen3"), std::string::npos) << message_;
  Json config = config_of("llama");
  config["rope_scaling"] = {{"rope_type", "dynamic"}, {"factor", 2.0}};
  EXPECT_EQ(error_of(config, plan), ErrorCode::unsupported);
  config = config_of("llama");
  config["hidden_act"] = "gelu";
  EXPECT_EQ(error_of(config, plan), ErrorCode::unsupported);
  config = config_of("qwen2");
  config["rope_scaling"] = {{"rope_type", "llama3"}, {"factor", 8.0}};
  EXPECT_EQ(error_of(config, plan), ErrorCode::unsupported);
  config = config_of("llama");
  config["item_prompt"] = {{"bos", 1}, {"prefix", true}};
  EXPECT_EQ(error_of(config, plan), ErrorCode::unsupported);
  EXPECT_NE(message_.find("in both directions"), std::string::npos) << message_;

  std::vector<TensorInfo> extra = plan;
  extra.push_back({"score.weight", DType::f32, {2, kWidth}});
  extra.push_back({"model.layers.0.odd.weight", DType::f32, {2}});
  EXPECT_EQ(error_of(config_of("llama"), extra), ErrorCode::unsupported);
  EXPECT_NE(message_.find("score.weight, model.layers.0.odd.weight"), std::string::npos) << message_;
  std::vector<TensorInfo> backbone;
  for (TensorInfo t : plan) {
    if (!t.name.starts_with("model.")) continue;
    t.name = t.name.substr(6);
    backbone.push_back(t);
  }
  EXPECT_EQ(error_of(config_of("llama"), backbone), ErrorCode::unsupported);
  EXPECT_NE(message_.find("a bare model without a head (\""), std::string::npos) << message_;
  extra = plan;
  extra[2].dtype = DType::f8_e4m3;
  EXPECT_EQ(error_of(config_of("llama"), extra), ErrorCode::unsupported);
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(GgufWriterTest, OrderSizesAndCompletenessAreChecked) {
  const std::vector<TensorInfo> plan = plan_of(DType::f32, DType::f32, false);
  const auto writer = CheckpointWriter::create(path_, plan, config_of("llama"), {.format = "gguf"});
  EXPECT_THROW(writer->write(plan[1].name, bytes_for(plan[1])), Error);
  EXPECT_THROW(writer->write(plan[0].name, bytes_for(plan[1])), Error);
  writer->write(plan[0].name, bytes_for(plan[0]));
  EXPECT_THROW(writer->finish(), Error);
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(GgufWriterTest, AFailingWriteLeavesTheOldFileOrTheNewOne) {
  const std::vector<TensorInfo> plan = plan_of(DType::f32, DType::f32, false);
  Json config = config_of("llama");
  config["_name_or_path"] = "renewed";
  write_model(path_, plan, config);
  const std::string renewed = read_file(path_);
  write_model(path_, plan, config_of("llama"));
  const std::string old = read_file(path_);
  ASSERT_NE(old, renewed);
  for_every_fault([&] { write_model(path_, plan, config); },
                  [&](bool succeeded) {
                    const std::string now = read_file(path_);
                    EXPECT_TRUE(now == renewed || (!succeeded && now == old));
                    write_file(path_, old);
                  });
}

TEST_F(GgufWriterTest, AFailingReadIsAnErrorOrTheWholeModel) {
  write_model(path_, plan_of(DType::f32, DType::f32, false), config_of("llama"));
  size_t tensors = 0;
  for_every_fault(
      [&] {
        tensors = 0;
        tensors = Checkpoint::open(path_)->tensors().size();
      },
      [&](bool succeeded) { EXPECT_EQ(tensors, succeeded ? 11u : 0u); });
}

}  // namespace
}  // namespace caravan::formats
