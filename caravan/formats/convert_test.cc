#include "caravan/formats/convert.h"

#include <gtest/gtest.h>

#include <cstring>

#include "caravan/base/file.h"
#include "caravan/base/temporary_folder.h"
#include "caravan/formats/memory_checkpoint.h"
#include "caravan/formats/unread_quantization.h"

namespace caravan::formats {
namespace {

template <class T>
std::vector<std::byte> bytes_of(std::initializer_list<T> values) {
  const auto bytes = std::as_bytes(std::span(values.begin(), values.size()));
  return {bytes.begin(), bytes.end()};
}

template <class T>
std::vector<T> values_of(const Checkpoint& checkpoint, std::string_view name) {
  const TensorBytes read = checkpoint.read(name);
  std::vector<T> values(read.bytes.size() / sizeof(T));
  std::memcpy(values.data(), read.bytes.data(), values.size() * sizeof(T));
  return values;
}

std::unique_ptr<Checkpoint> source(bool tied, bool equal_head) {
  auto from = std::make_unique<MemoryCheckpoint>("source", Json{{"model_type", "llama"},
                                                                {"tie_word_embeddings", tied},
                                                                {"torch_dtype", "float32"},
                                                                {"dtype", nullptr},
                                                                {"text_config", {{"dtype", "float32"}, {"other", 1}}}});
  from->add({"model.embed_tokens.weight", DType::f32, {2, 2}}, bytes_of<float>({1, 2, 3, 1.00390625f}));
  from->add({"model.layers.0.self_attn.rotary_emb.inv_freq", DType::f32, {1}}, bytes_of<float>({1}));
  from->add({"model.layers.0.self_attn.masked_bias", DType::f32, {}}, bytes_of<float>({-1e9f}));
  from->add({"ids", DType::i64, {2}}, bytes_of<int64_t>({5, -6}));
  from->add({"lm_head.weight", DType::f32, {2, 2}}, bytes_of<float>({1, 2, 3, equal_head ? 1.00390625f : 4}));
  from->add_side_file("tokenizer.json", "{}");
  return from;
}

TEST(Convert, WithoutADtypeBytesAreUntouched) {
  const TemporaryFolder folder;
  convert(*source(false, true), folder / "out", {});
  const auto out = Checkpoint::open(folder / "out");
  EXPECT_EQ(out->tensors().size(), 3u);  // the derived buffer is gone, the untied head is not
  EXPECT_EQ(values_of<float>(*out, "lm_head.weight"), (std::vector<float>{1, 2, 3, 1.00390625f}));
  EXPECT_EQ(out->config()["torch_dtype"], "float32");
  EXPECT_EQ(out->side_file("tokenizer.json"), "{}");
}

TEST(Convert, FloatsTakeTheDtypeAndTheConfigSaysSo) {
  const TemporaryFolder folder;
  std::vector<std::string> seen;
  convert(*source(false, true), folder / "out",
          {.dtype = DType::bf16, .progress = [&](const ConvertProgress& p) { seen.push_back(p.tensor.name); }});
  const auto out = Checkpoint::open(folder / "out");
  EXPECT_EQ(values_of<uint16_t>(*out, "model.embed_tokens.weight"),
            (std::vector<uint16_t>{0x3F80, 0x4000, 0x4040, 0x3F80}));
  EXPECT_EQ(values_of<int64_t>(*out, "ids"), (std::vector<int64_t>{5, -6}));
  EXPECT_EQ(out->config()["torch_dtype"], "bfloat16");
  EXPECT_EQ(out->config()["dtype"], "bfloat16");
  EXPECT_EQ(out->config()["text_config"]["dtype"], "bfloat16");
  EXPECT_EQ(out->config()["text_config"]["other"], 1);
  EXPECT_EQ(seen.size(), 3u);
}

TEST(Convert, ATiedHeadIsDroppedOnlyIfItEqualsTheEmbedding) {
  const TemporaryFolder folder;
  convert(*source(true, true), folder / "equal", {});
  EXPECT_EQ(Checkpoint::open(folder / "equal")->find("lm_head.weight"), nullptr);
  convert(*source(true, false), folder / "different", {});
  EXPECT_NE(Checkpoint::open(folder / "different")->find("lm_head.weight"), nullptr);
}

TEST(Convert, FlaxHasTheTiedHeadAndLosesItOnTheWayBack) {
  const TemporaryFolder folder;
  convert(*source(true, true), folder / "tied", {});
  convert(*Checkpoint::open(folder / "tied"), folder / "flax", {.write = {.format = "flax"}});
  const auto flax = Checkpoint::open(folder / "flax");
  EXPECT_EQ(values_of<float>(*flax, "lm_head.weight"), values_of<float>(*flax, "model.embed_tokens.weight"));
  convert(*flax, folder / "back", {});
  EXPECT_EQ(read_file(folder / "back/model.safetensors").size(), read_file(folder / "tied/model.safetensors").size());
  EXPECT_EQ(Checkpoint::open(folder / "back")->find("lm_head.weight"), nullptr);
}

TEST(Convert, BlocksAreDequantizedWhereTheFormatCannotHoldThem) {
  MemoryCheckpoint from("quantized", {{"model_type", "llama"}});
  from.add({"w", DType::q8_0, {1, 32}}, std::vector<std::byte>(34, std::byte{2}));
  const TemporaryFolder folder;
  EXPECT_THROW(convert(from, folder / "out", {}), Error);
  const Dequantize twos = [](DType dtype, std::span<const std::byte> blocks, std::span<float> values) {
    EXPECT_EQ(dtype, DType::q8_0);
    EXPECT_EQ(blocks.size(), 34u);
    std::fill(values.begin(), values.end(), 2.0f);
  };
  convert(from, folder / "out", {.dequantize = twos});
  EXPECT_EQ(values_of<float>(*Checkpoint::open(folder / "out"), "w"), std::vector<float>(32, 2.0f));
  EXPECT_EQ(Checkpoint::open(folder / "out")->config()["torch_dtype"], "float32");
  convert(from, folder / "half", {.dtype = DType::f16, .dequantize = twos});
  EXPECT_EQ(values_of<uint16_t>(*Checkpoint::open(folder / "half"), "w"), std::vector<uint16_t>(32, 0x4000));
}

TEST(Convert, ScaledEightBitWeightsAreNotTakenForPlainOnes) {
  MemoryCheckpoint from("fp8");
  from.add({"w", DType::f8_e4m3, {1}}, std::vector<std::byte>(1));
  from.add({"w_scale_inv", DType::f32, {1}}, std::vector<std::byte>(4));
  const TemporaryFolder folder;
  EXPECT_THROW(convert(from, folder / "out", {.dtype = DType::f32}), Error);
  EXPECT_THROW(convert(from, folder / "out", {.dtype = DType::i32}), Error);
  EXPECT_THROW(convert(from, folder / "out", {.write = {.format = "flax"}}), Error);
  EXPECT_THROW(plan_conversion(from, {.choose = [](const TensorInfo& t) { return t.dtype; }}), Error);
  convert(from, folder / "out", {});
}

// A whole small model: GGUF takes no other.
std::unique_ptr<MemoryCheckpoint> small_llama() {
  auto from = std::make_unique<MemoryCheckpoint>("llama", Json{{"architectures", {"LlamaForCausalLM"}},
                                                               {"model_type", "llama"},
                                                               {"hidden_size", 8},
                                                               {"intermediate_size", 12},
                                                               {"num_hidden_layers", 1},
                                                               {"num_attention_heads", 2},
                                                               {"num_key_value_heads", 1},
                                                               {"head_dim", 4},
                                                               {"vocab_size", 5},
                                                               {"rms_norm_eps", 1e-5},
                                                               {"rope_theta", 10000.0},
                                                               {"max_position_embeddings", 32},
                                                               {"hidden_act", "silu"},
                                                               {"tie_word_embeddings", false},
                                                               {"torch_dtype", "float32"}});
  const std::string layer = "model.layers.0.";
  const std::vector<TensorInfo> tensors = {{"model.embed_tokens.weight", DType::f32, {5, 8}},
                                           {layer + "input_layernorm.weight", DType::f32, {8}},
                                           {layer + "self_attn.q_proj.weight", DType::f32, {8, 8}},
                                           {layer + "self_attn.k_proj.weight", DType::f32, {4, 8}},
                                           {layer + "self_attn.v_proj.weight", DType::f32, {4, 8}},
                                           {layer + "self_attn.o_proj.weight", DType::f32, {8, 8}},
                                           {layer + "post_attention_layernorm.weight", DType::f32, {8}},
                                           {layer + "mlp.gate_proj.weight", DType::f32, {12, 8}},
                                           {layer + "mlp.up_proj.weight", DType::f32, {12, 8}},
                                           {layer + "mlp.down_proj.weight", DType::f32, {8, 12}},
                                           {"model.norm.weight", DType::f32, {8}},
                                           {"lm_head.weight", DType::f32, {5, 8}}};
  uint32_t bits = 0x3F000000;
  for (const TensorInfo& t : tensors) {
    std::vector<std::byte> bytes(static_cast<size_t>(tensor_bytes(t.dtype, t.shape, t.name)));
    for (size_t i = 0; i < bytes.size(); i += 4, bits += 0x1F1) std::memcpy(&bytes[i], &bits, 4);
    from->add(t, std::move(bytes));
  }
  return from;
}

// The line about a checkpoint of one quantized tensor; empty where it counts as plain weights.
std::string unread(const Json& quantization, const std::string& name, DType dtype) {
  Json config = {{"model_type", "llama"}};
  if (!quantization.is_null()) config["quantization_config"] = quantization;
  MemoryCheckpoint from("made", config);
  from.add({"model.norm.weight", DType::f32, {1}}, std::vector<std::byte>(4));
  from.add({name, dtype, {1}}, std::vector<std::byte>(static_cast<size_t>(dtype_info(dtype).block_bytes)));
  return unread_quantization(from).value_or("");
}

TEST(UnreadQuantization, IsNamed) {
  const auto expect = [](const std::string& line, std::string_view part) {
    EXPECT_NE(line.find(part), std::string::npos) << line;
    EXPECT_EQ(line.find('\n'), std::string::npos);
    EXPECT_NE(line.find("read are gptq"), std::string::npos) << line;
  };
  for (const char* method :
       {"bitsandbytes", "fp8", "fbgemm_fp8", "hqq", "eetq", "quanto", "torchao", "mxfp4", "GPTQ"}) {
    expect(unread({{"quant_method", method}}, "a.weight", DType::i8), fmt::format("by '{}'", method));
  }
  expect(unread({{"bits", 4}}, "a.qweight", DType::i32), "no quant_method");
  expect(unread("gptq", "a.qweight", DType::i32), "no object");
  expect(unread(nullptr, "a.qweight", DType::i32), "no quantization_config names");
  expect(unread(nullptr, "a.SCB", DType::f32), "no quantization_config names");
  // What a training in 4 bits leaves in the config of plain weights; floats of 8 bits without scales; old masks.
  EXPECT_EQ(unread({{"quant_method", "bitsandbytes"}}, "a.weight", DType::bf16), "");
  EXPECT_EQ(unread(nullptr, "a.weight", DType::f8_e4m3), "");
  EXPECT_EQ(unread(nullptr, "attn.bias", DType::u8), "");
}

TEST(Convert, RefusesToWriteOverWhatItReads) {
  const TemporaryFolder folder;
  const auto refuses = [](const std::string& in, const std::string& out) {
    try {
      check_target(*Checkpoint::open(in), out);
    } catch (const Error& e) {
      return e.code() == ErrorCode::invalid_argument;
    }
    return false;
  };
  const std::string in = folder / "in";
  convert(*small_llama(), in, {});
  convert(*small_llama(), folder / "a.gguf", {.write = {.format = "gguf"}});
  EXPECT_TRUE(refuses(in, in));
  EXPECT_TRUE(refuses(in, in + "/"));
  EXPECT_TRUE(refuses(in + "/model.safetensors", in));
  EXPECT_TRUE(refuses(in, folder.path()));
  EXPECT_TRUE(refuses(in, in + "/config.json"));
  EXPECT_TRUE(refuses(folder / "a.gguf", folder / "a.gguf"));
  EXPECT_FALSE(refuses(in, folder / "a.gguf"));
  EXPECT_FALSE(refuses(in, folder / "new"));
  EXPECT_FALSE(refuses(in, in + "/new.gguf"));
  std::filesystem::copy(folder / "a.gguf", in + "/b.gguf");  // beside weights that come first
  EXPECT_FALSE(refuses(in, in + "/b.gguf"));
  std::filesystem::create_hard_link(folder / "a.gguf", folder / "same.gguf");
  EXPECT_TRUE(refuses(folder / "a.gguf", folder / "same.gguf"));
  std::filesystem::create_directory(folder / "hub");  // as a cache has it: links to files elsewhere
  for (const char* name : {"config.json", "model.safetensors"})
    std::filesystem::create_symlink(in + "/" + name, folder / fmt::format("hub/{}", name));
  EXPECT_TRUE(refuses(folder / "hub", folder / "hub"));
  EXPECT_TRUE(refuses(folder / "hub", in));
  EXPECT_THROW(convert(*Checkpoint::open(in + "/model.safetensors"), in, {}), Error);
  EXPECT_TRUE(Checkpoint::open(in)->find("lm_head.weight") != nullptr);
}

TEST(Convert, EveryFormatGivesBackEveryBit) {
  const TemporaryFolder folder;
  const auto from = small_llama();
  for (const std::string_view format : writer_formats()) {
    SCOPED_TRACE(format);
    const std::string path = folder / fmt::format("{}{}", format, format == "gguf" ? ".gguf" : "");
    convert(*from, path, {.write = {.format = std::string(format)}});
    const auto there = Checkpoint::open(path);
    EXPECT_EQ(there->format(), format == "compressed-tensors" ? "safetensors" : format);
    const std::string again = folder / fmt::format("{}-back", format);
    convert(*there, again, {});
    const auto back = Checkpoint::open(again);
    ASSERT_EQ(back->tensors().size(), from->tensors().size());
    for (const TensorInfo& t : from->tensors()) {
      ASSERT_NE(back->find(t.name), nullptr) << t.name;
      EXPECT_EQ(back->find(t.name)->shape, t.shape) << t.name;
      EXPECT_EQ(values_of<uint32_t>(*back, t.name), values_of<uint32_t>(*from, t.name)) << t.name;
    }
    EXPECT_EQ(get_int(back->config(), "num_attention_heads", "config"), 2);
  }
}

std::vector<std::string> warnings_of(const Checkpoint& from, ConvertOptions options) {
  const TemporaryFolder folder;
  std::vector<std::string> lines;
  options.warn = [&](const std::string& line) { lines.push_back(line); };
  convert(from, folder / (options.write.format == "gguf" ? "out.gguf" : "out"), options);
  return lines;
}

TEST(Convert, TellsWhatAGgufCannotHold) {
  const auto lines_of = [](const Json& more, const char* generation = "") {
    const auto plain = small_llama();
    Json config = plain->config();
    if (!more.is_null()) config.update(more);
    MemoryCheckpoint from("made", config);
    for (const TensorInfo& t : plain->tensors()) {
      const TensorBytes read = plain->read(t.name);
      from.add(t, {read.bytes.begin(), read.bytes.end()});
    }
    if (*generation != 0) from.add_side_file("generation_config.json", generation);
    return warnings_of(from, {.write = {.format = "gguf"}});
  };
  const auto expect_line = [](const std::vector<std::string>& lines, std::string_view part) {
    ASSERT_EQ(lines.size(), 1u) << part;
    EXPECT_NE(lines[0].find(part), std::string::npos) << lines[0];
  };
  EXPECT_TRUE(lines_of({}).empty());
  Json yarn = {{"rope_type", "yarn"}, {"factor", 2.0}, {"beta_fast", 32}, {"beta_slow", 1.0}};
  EXPECT_TRUE(lines_of({{"rope_scaling", yarn}}).empty());
  yarn["beta_fast"] = 16;
  expect_line(lines_of({{"rope_scaling", yarn}}), "beta_fast 16");
  expect_line(lines_of({{"rope_parameters", yarn}}), "beta_fast 16");
  expect_line(lines_of({{"model_type", "mistral"}, {"sliding_window", 16}, {"max_position_embeddings", 64}}),
              "sliding window");
  EXPECT_TRUE(lines_of({{"model_type", "mistral"}, {"sliding_window", 64}, {"max_position_embeddings", 64}}).empty());
  expect_line(lines_of({}, R"({"eos_token_id": [1, 2]})"), "end-of-text");
  expect_line(lines_of({}, R"({"temperature": 0.6, "top_p": null, "bos_token_id": 1})"), "behind: temperature");
  EXPECT_TRUE(lines_of({}, "[1").empty());
}

TEST(Convert, NoNumberBecomesInfinite) {
  MemoryCheckpoint from("made");
  from.add({"a", DType::f32, {4}}, bytes_of<float>({1, 65504, -70000, INFINITY}));
  from.add({"b", DType::f32, {2}}, bytes_of<float>({1e30f, 2}));
  EXPECT_TRUE(warnings_of(from, {.dtype = DType::bf16}).empty());
  const TemporaryFolder folder;
  try {
    convert(from, folder / "out", {.dtype = DType::f16});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    EXPECT_STREQ(error.what(),
                 "made: tensor 'a': 1 numbers are beyond the range of f16 and would become infinite; bf16 holds them");
  }
  EXPECT_TRUE(list_folder(folder.path())->empty());
}

TEST(Convert, TellsWhichFilesStayBehind) {
  const TemporaryFolder folder;
  convert(*small_llama(), folder / "in", {});
  for (const char* name : {"modeling_x.py", "README.md", "tokenizer_config.json"})
    write_file(folder / fmt::format("in/{}", name), "{}");
  const auto lines = warnings_of(*Checkpoint::open(folder / "in"), {});
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0], "not carried over: modeling_x.py");
}

TEST(Convert, StoppingLeavesNothing) {
  const TemporaryFolder folder;
  const auto stop = [](const ConvertProgress& p) {
    if (p.index == 2) fail(ErrorCode::cancelled, "stopped");
  };
  EXPECT_THROW(convert(*source(false, false), folder / "out", {.progress = stop}), Error);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(Convert, ASourceCutWhileItIsReadIsAnErrorAndLeavesNothing) {
  const TemporaryFolder folder;
  MemoryCheckpoint made("made");
  made.add({"a", DType::u8, {1 << 20}}, std::vector<std::byte>(1 << 20, std::byte{1}));
  made.add({"b", DType::u8, {1 << 20}}, std::vector<std::byte>(1 << 20, std::byte{1}));
  convert(made, folder / "in", {});
  const auto from = Checkpoint::open(folder / "in");
  const auto cut = [&](const ConvertProgress& p) {
    if (p.index == 1) std::filesystem::resize_file(folder / "in/model.safetensors", 5000);
  };
  try {
    convert(*from, folder / "out", {.progress = cut});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.fault(), FileFault::truncated);
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "out"));
}

}  // namespace
}  // namespace caravan::formats
