// Packed checkpoints against the weights that they stand for (scripts/golden/packed_checkpoints.py), and broken ones.
#include "caravan/formats/packed_checkpoint.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "caravan/base/error.h"
#include "caravan/base/temporary_folder.h"
#include "caravan/formats/cast.h"
#include "caravan/formats/memory_checkpoint.h"
#include "caravan/formats/writer.h"

namespace caravan::formats {
namespace {

Json config_of(const std::string& quantization) {
  return {{"model_type", "llama"}, {"quantization_config", Json::parse(quantization)}};
}

struct Case {
  std::string name, quantization;
  DType shown;
  double tolerance;  // in units of the largest weight
};

const std::string kPackedConfig = R"({"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups":
    {"group_0": {"weights": {"num_bits": 4, "group_size": 32, "type": "int"}, "input_activations": null}}})";

const std::vector<Case> kCases = {
    {"gptq4", R"({"quant_method": "gptq", "bits": 4, "group_size": 32})", DType::q4_0, 0},
    {"gptq4_zeros", R"({"quant_method": "gptq", "bits": 4, "group_size": 32})", DType::q4_1, 5e-4},
    {"gptq4_act", R"({"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": true})", DType::f16, 5e-4},
    {"gptq8", R"({"quant_method": "gptq", "bits": 8, "group_size": 32})", DType::q8_0, 0},
    {"gptq2", R"({"quant_method": "gptq", "bits": 2, "group_size": 32})", DType::q4_0, 0},
    {"gptq3", R"({"quant_method": "gptq", "bits": 3, "group_size": 32})", DType::q4_0, 0},
    {"awq", R"({"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemm"})", DType::q4_1, 5e-4},
    {"packed4", kPackedConfig, DType::q4_0, 0},
    {"packed4_zeros", kPackedConfig, DType::q4_1, 5e-4},
    {"int8", R"({"quant_method": "compressed-tensors", "format": "int-quantized", "config_groups": {"group_0":
        {"weights": {"num_bits": 8, "type": "int"}, "input_activations": {"dynamic": true}}}})",
     DType::f32, 0},
    {"int8_tensor", R"({"quant_method": "compressed-tensors", "format": "int-quantized", "config_groups": {"group_0":
        {"weights": {"num_bits": 8, "type": "int", "strategy": "tensor"}}}})",
     DType::f32, 0},
    {"packed8_tensor",
     R"({"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"group_0":
        {"weights": {"num_bits": 8, "type": "int", "strategy": "tensor"}}}})",
     DType::f16, 5e-4},
    {"gptq4",
     R"({"quant_method": "auto-round", "packing_format": "auto_round:auto_gptq", "bits": 4, "group_size": 32})",
     DType::q4_0, 0},
    {"gptq4", R"({"quant_method": "intel/auto-round", "bits": 4, "group_size": 32})", DType::q4_0, 0},
    {"round", R"({"quant_method": "auto-round", "packing_format": "auto_round", "bits": 4, "group_size": 32})",
     DType::q4_1, 5e-4},
    {"awq", R"({"quant_method": "auto-round", "packing_format": "auto_round:auto_awq", "bits": 4, "group_size": 32})",
     DType::q4_1, 5e-4},
    {"gptq8", R"({"quant_method": "auto-round", "bits": 4, "group_size": 128, "rotation_config": {},
        "extra_config": {".*layer": {"bits": 8, "group_size": 32}, "lm_head": {"bits": 16, "data_type": "fp"}}})",
     DType::q8_0, 0},
};

// The golden's tensors of one case as a checkpoint of one layer, "layer".
std::unique_ptr<MemoryCheckpoint> stored(const Case& c, std::vector<float>* expected,
                                         const std::string& without = std::string()) {
  const auto golden = Checkpoint::open(CARAVAN_SOURCE_DIR "/tests/golden/formats/packed.safetensors");
  auto memory = std::make_unique<MemoryCheckpoint>("packed", config_of(c.quantization));
  for (const TensorInfo& t : golden->tensors()) {
    const std::string prefix = c.name + ".";
    if (!t.name.starts_with(prefix)) continue;
    const std::string part = t.name.substr(prefix.size());
    const TensorBytes bytes = golden->read(t.name);
    if (part == "expected") {
      expected->resize(bytes.bytes.size() / 4);
      std::memcpy(expected->data(), bytes.bytes.data(), bytes.bytes.size());
    } else if (part != without) {
      memory->add({"layer." + part, t.dtype, t.shape}, {bytes.bytes.begin(), bytes.bytes.end()});
    }
  }
  return memory;
}

// q4_0, q4_1 and q8_0 as dequantize.cc has them; formats/ has no kernels.
float element(const TensorInfo& t, std::span<const std::byte> bytes, size_t i) {
  float value = 0;
  if (!is_block_quantized(t.dtype)) {
    const auto size = static_cast<size_t>(dtype_info(t.dtype).block_bytes);
    cast_elements(t.dtype, bytes.subspan(i * size, size), DType::f32, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  const auto* block =
      reinterpret_cast<const uint8_t*>(bytes.data()) + i / 32 * static_cast<size_t>(dtype_info(t.dtype).block_bytes);
  const auto half = [&](size_t at) {
    float f = 0;
    cast_elements(DType::f16, std::as_bytes(std::span(block + at, 2)), DType::f32,
                  std::as_writable_bytes(std::span(&f, 1)));
    return f;
  };
  const size_t k = i % 32;
  if (t.dtype == DType::q8_0) return half(0) * static_cast<float>(static_cast<int8_t>(block[2 + k]));
  const size_t data = t.dtype == DType::q4_0 ? 2 : 4;
  const int nibble = block[data + k % 16] >> (k / 16 * 4) & 15;
  return t.dtype == DType::q4_0 ? half(0) * static_cast<float>(nibble - 8)
                                : half(0) * static_cast<float>(nibble) + half(2);
}

TEST(PackedCheckpoint, ShowsTheWeightsThatWerePacked) {
  for (const Case& c : kCases) {
    std::vector<float> expected;
    const auto shown = present_packed(stored(c, &expected));
    ASSERT_EQ(shown->tensors().size(), 1U) << c.name;
    const TensorInfo& t = shown->tensors()[0];
    EXPECT_EQ(t.name, "layer.weight");
    EXPECT_EQ(t.shape, (std::vector<int64_t>{std::ssize(expected) / 64, 64})) << c.name;
    EXPECT_EQ(t.dtype, c.shown) << c.name << " " << to_string(t.dtype);
    EXPECT_FALSE(shown->config().contains("quantization_config"));
    const TensorBytes bytes = shown->read(t.name);
    double largest = 0;
    for (const float v : expected) largest = std::max(largest, std::abs(static_cast<double>(v)));
    for (size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(element(t, bytes.bytes, i), expected[i], c.tolerance * largest) << c.name << " " << i;
    }
  }
}

// compressed-tensors replaces every Linear that is not ignored, a tied head too, which has no tensor of its own.
TEST(PackedCheckpoint, ATiedHeadIsIgnored) {
  for (const bool tied : {false, true}) {
    const TemporaryFolder folder;
    const TensorInfo blocks{"model.layers.0.mlp.up_proj.weight", DType::q4_0, {1, 32}};
    const auto writer =
        CheckpointWriter::create(folder / "out", {blocks}, Json{{"model_type", "llama"}, {"tie_word_embeddings", tied}},
                                 {.format = "compressed-tensors"});
    writer->write(blocks.name, std::vector<std::byte>(18, std::byte{0x2c}));
    writer->finish();
    const Json config = parse_json(Checkpoint::open(folder / "out")->side_file("config.json"), "config.json");
    EXPECT_EQ(config["quantization_config"]["ignore"], tied ? Json::array({"lm_head"}) : Json::array());
  }
}

// Blocks through a compressed-tensors folder: the same bytes, and what is no block beside them.
TEST(PackedCheckpoint, BlocksComeBackFromAFolder) {
  for (const DType dtype : {DType::q4_0, DType::q8_0}) {
    const TemporaryFolder folder;
    const TensorInfo blocks{"model.layers.0.mlp.up_proj.weight", dtype, {3, 64}};
    const TensorInfo head{"lm_head.weight", DType::f16, {3, 2}};
    std::vector<std::byte> bytes(static_cast<size_t>(tensor_bytes(dtype, blocks.shape, blocks.name)));
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 37 + 1);
    for (size_t b = 1; b < bytes.size(); b += static_cast<size_t>(dtype_info(dtype).block_bytes)) {
      bytes[b] = std::byte{0x2c};  // scales of a usual size
    }
    const std::vector<std::byte> rest(12, std::byte{1});
    const std::string path = folder / "out";
    const auto writer =
        CheckpointWriter::create(path, {blocks, head}, Json{{"model_type", "llama"}}, {.format = "compressed-tensors"});
    writer->write(blocks.name, bytes);
    writer->write(head.name, rest);
    writer->finish();
    const auto back = Checkpoint::open(path);
    EXPECT_EQ(back->find(blocks.name)->dtype, dtype);
    EXPECT_EQ(back->find(blocks.name)->shape, blocks.shape);
    EXPECT_TRUE(std::ranges::equal(back->read(blocks.name).bytes, bytes)) << to_string(dtype);
    EXPECT_TRUE(std::ranges::equal(back->read(head.name).bytes, rest));
    const Json config = parse_json(back->side_file("config.json"), "config.json");
    EXPECT_EQ(config["quantization_config"]["ignore"], Json::array({"lm_head"}));
  }
}

TEST(PackedCheckpoint, FoldersHoldNoOtherBlocks) {
  const TemporaryFolder folder;
  const auto write = [&](std::vector<TensorInfo> plan) {
    CheckpointWriter::create(folder / "out", std::move(plan), Json::object(), {.format = "compressed-tensors"});
  };
  EXPECT_THROW(write({{"a.weight", DType::q4_1, {3, 64}}}), Error);
  EXPECT_THROW(write({{"model.embed_tokens.weight", DType::q4_0, {3, 64}}}), Error);
  EXPECT_THROW(write({{"a.weight", DType::q4_0, {3, 64}}, {"b.weight", DType::q8_0, {3, 64}}}), Error);
}

TEST(PackedCheckpoint, LeavesPlainCheckpointsAlone) {
  auto plain = std::make_unique<MemoryCheckpoint>("plain", Json{{"model_type", "llama"}});
  const Checkpoint* address = plain.get();
  EXPECT_EQ(present_packed(std::move(plain)).get(), address);
}

TEST(PackedCheckpoint, RefusesWhatIsBrokenOrUnknown) {
  std::vector<float> expected;
  const auto refused = [&](Case c, const std::string& without = std::string()) {
    EXPECT_THROW(
        {
          const auto shown = present_packed(stored(c, &expected, without));
          shown->read("layer.weight");
        },
        Error)
        << c.name << " " << c.quantization << " " << without;
  };
  const auto with = [](const char* name, const std::string& quantization) {
    return Case{name, quantization, DType::f32, 0};
  };
  for (const char* part : {"qzeros", "scales"}) refused(kCases[0], part);
  for (const char* part : {"weight_scale", "weight_shape"}) refused(with("packed4", kPackedConfig), part);
  refused(with("gptq4", R"({"quant_method": "gptq", "bits": 5, "group_size": 32})"));
  refused(with("gptq3", R"({"quant_method": "gptq", "bits": 4, "group_size": 32})"));
  refused(with("gptq4", R"({"quant_method": "gptq", "bits": 8, "group_size": 32})"));
  refused(with("gptq4", R"({"quant_method": "gptq", "bits": 4, "group_size": 48})"));
  refused(with("gptq4", R"({"quant_method": "gptq", "bits": 4, "group_size": 64})"));
  refused(with("gptq4", R"({"quant_method": "gptq", "bits": 4, "group_size": 32, "checkpoint_format": "marlin"})"));
  refused(with("awq", R"({"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemv"})"));
  refused(with("int8", R"({"quant_method": "compressed-tensors", "format": "float-quantized"})"));
  refused(with("packed4", R"({"quant_method": "compressed-tensors", "format": "pack-quantized"})"));
  refused(with("packed4", R"({"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups":
      {"group_0": {"weights": {"num_bits": 4, "type": "int", "strategy": "block"}}}})"));
  refused(with("packed4", R"({"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups":
      {"group_0": {"weights": {"num_bits": 4, "type": "int", "strategy": "tensor"}}}})"));  // there are 32 scales
}

// What is not read is named with its value, whether it is said of all layers or of one.
TEST(PackedCheckpoint, RefusalsNameTheKeyAndTheValue) {
  const std::vector<std::pair<std::string, std::string>> keys = {
      {R"("packing_format": "auto_round:fp8_static")", "packing_format 'auto_round:fp8_static'"},
      {R"("bits": 5)", "bits 5"},
      {R"("data_type": "mx_fp")", "data_type 'mx_fp'"},
      {R"("act_bits": 8)", "act_bits 8"},
      {R"("rotation_config": {"algorithm": "quarot"})", R"(rotation_config {"algorithm":"quarot"})"},
      {R"("extra_config": {"lm_head": {"bits": 6}})", "extra_config of 'lm_head': bits 6"},
      {R"("packing_format": "auto_round:auto_awq", "extra_config": {"lm_head": {"bits": 8}})", "bits 4 or 8"},
      {R"("extra_config": {"lm_head": {"group_size": [128, 128]}})", "group_size"},
  };
  for (const auto& [text, named] : keys) {
    std::vector<float> expected;
    try {
      present_packed(stored({"gptq4", R"({"quant_method": "auto-round", )" + text + "}", DType::f32, 0}, &expected));
      ADD_FAILURE() << text << " was read";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(named), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace caravan::formats
