// Flax files: one that flax itself wrote, round trips, and broken ones.
#include "caravan/formats/flax_checkpoint.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/temporary_folder.h"
#include "caravan/formats/flax_tree.h"
#include "caravan/formats/flax_writer.h"
#include "caravan/formats/msgpack.h"

namespace caravan::formats {
namespace {

const char* kGolden = CARAVAN_SOURCE_DIR "/tests/golden/formats/flax_model.msgpack";

template <class T>
std::vector<T> values_of(const Checkpoint& checkpoint, std::string_view name) {
  const TensorBytes read = checkpoint.read(name);
  std::vector<T> values(read.bytes.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), read.bytes.data(), read.bytes.size());
  return values;
}

std::vector<int64_t> shape_of(const Checkpoint& checkpoint, std::string_view name) {
  const TensorInfo* tensor = checkpoint.find(name);
  return tensor == nullptr ? std::vector<int64_t>{-1} : tensor->shape;
}

TEST(Flax, AFileOfFlaxItselfIsReadInTorchsLayout) {
  const auto checkpoint = Checkpoint::open(kGolden);
  EXPECT_EQ(checkpoint->format(), "flax");
  EXPECT_EQ(checkpoint->tensors().size(), 13u);  // no step, no optimizer state
  EXPECT_EQ(shape_of(*checkpoint, "model.embed_tokens.weight"), (std::vector<int64_t>{5, 3}));
  EXPECT_EQ(values_of<float>(*checkpoint, "model.embed_tokens.weight")[3], 3.0f);
  // kernel [3, 4] counts by rows: the weight [4, 3] has 0 4 8 in its first row.
  EXPECT_EQ(shape_of(*checkpoint, "model.layers.0.self_attn.q_proj.weight"), (std::vector<int64_t>{4, 3}));
  EXPECT_EQ(checkpoint->find("model.layers.0.self_attn.q_proj.weight")->dtype, DType::bf16);
  const auto q = values_of<uint16_t>(*checkpoint, "model.layers.0.self_attn.q_proj.weight");
  EXPECT_EQ(std::vector<uint16_t>(q.begin(), q.begin() + 4), (std::vector<uint16_t>{0, 0x4080, 0x4100, 0x3F80}));
  EXPECT_EQ(checkpoint->find("model.layers.0.input_layernorm.weight")->dtype, DType::f16);
  EXPECT_EQ(values_of<float>(*checkpoint, "model.layers.0.ln.weight"), (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(values_of<float>(*checkpoint, "model.layers.0.ln.bias"), (std::vector<float>{4, 5, 6}));
  EXPECT_EQ(values_of<int64_t>(*checkpoint, "ids"), (std::vector<int64_t>{-2, -1, 0, 1}));
  EXPECT_EQ(values_of<uint8_t>(*checkpoint, "mask"), (std::vector<uint8_t>{1, 0}));
  EXPECT_EQ(values_of<float>(*checkpoint, "scalar"), std::vector<float>{2.5f});
  EXPECT_EQ(shape_of(*checkpoint, "scalar"), std::vector<int64_t>{});
  EXPECT_EQ(shape_of(*checkpoint, "nothing"), (std::vector<int64_t>{0, 3}));
  EXPECT_EQ(values_of<float>(*checkpoint, "norm.running_var"), (std::vector<float>{2, 3}));
}

TEST(Flax, ChunksAndConvolutionsAreTurnedToo) {
  const auto checkpoint = Checkpoint::open(kGolden);
  ASSERT_EQ(shape_of(*checkpoint, "model.layers.0.big.weight"), (std::vector<int64_t>{41, 70}));
  const auto big = values_of<float>(*checkpoint, "model.layers.0.big.weight");
  for (int out = 0; out < 41; ++out) {
    for (int in = 0; in < 70; ++in) ASSERT_EQ(big[out * 70 + in], static_cast<float>(in * 41 + out));
  }
  ASSERT_EQ(shape_of(*checkpoint, "conv.weight"), (std::vector<int64_t>{5, 4, 2, 3}));  // [out, in, h, w]
  const auto conv = values_of<float>(*checkpoint, "conv.weight");
  for (int o = 0; o < 5; ++o) {
    for (int i = 0; i < 4; ++i) {
      for (int h = 0; h < 2; ++h) {
        for (int w = 0; w < 3; ++w) {
          ASSERT_EQ(conv[((o * 4 + i) * 2 + h) * 3 + w], static_cast<float>(((h * 3 + w) * 4 + i) * 5 + o));
        }
      }
    }
  }
}

const std::vector<TensorInfo> kPlan = {
    {"model.layers.0.self_attn.q_proj.weight", DType::bf16, {33, 70}},
    {"lm_head.weight", DType::f32, {5, 3}},
    {"model.embed_tokens.weight", DType::f32, {5, 3}},
    {"model.layers.0.self_attn.q_proj.bias", DType::bf16, {33}},
    {"model.layers.10.input_layernorm.weight", DType::f16, {3}},
    {"model.layers.1.ln.weight", DType::f32, {3}},
    {"model.layers.1.ln.bias", DType::f32, {3}},
    {"vision.conv.weight", DType::u8, {3, 2, 4, 5}},
    {"vision.conv1d.weight", DType::f64, {3, 2, 4}},
    {"ids", DType::i64, {}},
    {"empty.weight", DType::f32, {0, 4}},
};

std::vector<std::byte> pattern(const TensorInfo& t) {
  std::vector<std::byte> bytes(static_cast<size_t>(tensor_bytes(t.dtype, t.shape, t.name)));
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 31 + i / 256 + t.name.size());
  return bytes;
}

void write_plan(TensorFile& file, const std::vector<TensorInfo>& plan) {
  for (const TensorInfo& t : plan) file.write(t, pattern(t));
  file.commit();
}

void expect_plan(const Checkpoint& checkpoint) {
  ASSERT_EQ(checkpoint.tensors().size(), kPlan.size());
  for (const TensorInfo& t : kPlan) {
    EXPECT_EQ(shape_of(checkpoint, t.name), t.shape) << t.name;
    EXPECT_EQ(values_of<std::byte>(checkpoint, t.name), pattern(t)) << t.name;
  }
}

TEST(Flax, AnyOrderOfTensorsReadsBackBitExactly) {
  const TemporaryFolder folder;
  write_plan(*create_flax_file(folder / "a.msgpack", kPlan), kPlan);
  expect_plan(*Checkpoint::open(folder / "a.msgpack"));
  write_plan(*create_flax_file(folder / "chunks.msgpack", kPlan, 100), kPlan);
  expect_plan(*Checkpoint::open(folder / "chunks.msgpack"));
  const auto writer = CheckpointWriter::create(folder / "m", kPlan, {{"model_type", "llama"}}, {.format = "flax"});
  for (const TensorInfo& t : kPlan) writer->write(t.name, pattern(t));
  writer->finish();
  expect_plan(*Checkpoint::open(folder / "m"));
  EXPECT_EQ(Checkpoint::open(folder / "m")->config()["model_type"], "llama");
}

TEST(Flax, NamesAreThoseOfTransformers) {
  const TemporaryFolder folder;
  write_plan(*create_flax_file(folder / "a.msgpack", kPlan), kPlan);
  const auto map = MappedFile::open(folder / "a.msgpack");
  std::vector<std::string> names;
  for (const FlaxArray& array : parse_flax_tree(map->bytes(), "a"))
    names.push_back(fmt::format("{}", fmt::join(array.path, "/")));
  EXPECT_EQ(names, (std::vector<std::string>{"empty/kernel", "ids", "lm_head/kernel", "model/embed_tokens/embedding",
                                             "model/layers/0/self_attn/q_proj/bias",
                                             "model/layers/0/self_attn/q_proj/kernel", "model/layers/1/ln/bias",
                                             "model/layers/1/ln/scale", "model/layers/10/input_layernorm/weight",
                                             "vision/conv/kernel", "vision/conv1d/kernel"}));
}

TEST(Flax, ShardsAreReadThroughTheirIndex) {
  const TemporaryFolder folder;
  const std::vector<TensorInfo> first(kPlan.begin(), kPlan.begin() + 5), second(kPlan.begin() + 5, kPlan.end());
  write_plan(*create_flax_file(folder / "flax_model-00001-of-00002.msgpack", first), first);
  write_plan(*create_flax_file(folder / "flax_model-00002-of-00002.msgpack", second), second);
  Json map = Json::object();
  for (const char* file : {"flax_model-00001-of-00002.msgpack", "flax_model-00002-of-00002.msgpack"}) {
    const auto bytes = MappedFile::open(folder / file);
    for (const FlaxArray& array : parse_flax_tree(bytes->bytes(), file))
      map[fmt::format("{}", fmt::join(array.path, "/"))] = file;
  }
  write_file(folder / "flax_model.msgpack.index.json", dump_json({{"metadata", Json::object()}, {"weight_map", map}}));
  const auto checkpoint = Checkpoint::open(folder.path());
  EXPECT_EQ(checkpoint->tensors().size(), kPlan.size());
  for (const TensorInfo& t : kPlan) {
    EXPECT_EQ(values_of<std::byte>(*checkpoint, t.name), pattern(t)) << t.name;
  }
}

TEST(Flax, NamesThatWouldNotComeBackAreRefused) {
  const TemporaryFolder folder;
  for (const char* name : {"a.scale", "a.kernel", "a.embedding", "a..b"}) {
    EXPECT_THROW(create_flax_file(folder / "x", {{name, DType::u8, {1}}}), Error) << name;
  }
  EXPECT_THROW(create_flax_file(folder / "x", {{"a", DType::u8, {1}}, {"a.b", DType::u8, {1}}}), Error);
  EXPECT_THROW(create_flax_file(folder / "x", {{"a.b", DType::u8, {1}}, {"a", DType::u8, {1}}}), Error);
  EXPECT_THROW(CheckpointWriter::create(folder / "x", {{"a", DType::q8_0, {32}}}, Json::object(), {.format = "flax"}),
               Error);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

FileFault fault_of(const std::string& bytes) {
  try {
    parse_flax_tree(std::as_bytes(std::span(bytes)), "x.msgpack");
  } catch (const Error& e) {
    return e.fault();
  }
  return FileFault::none;
}

std::string array_of(const std::string& shape, const std::string& dtype, const std::string& data) {
  const std::string inner = msgpack_array(3) + shape + dtype + msgpack_begin_binary(data.size()) + data;
  return msgpack_begin_extension(1, inner.size()) + inner;
}

std::string map_of(const std::string& key, const std::string& value) {
  return msgpack_map(1) + msgpack_text(key) + value;
}

TEST(BrokenFlax, EveryCutIsRefused) {
  const std::string whole = read_file(kGolden);
  ASSERT_EQ(fault_of(whole), FileFault::none);
  for (size_t n = 0; n < whole.size(); ++n) ASSERT_NE(fault_of(whole.substr(0, n)), FileFault::none) << n;
  EXPECT_EQ(fault_of(whole + "x"), FileFault::layout);
}

TEST(BrokenFlax, EveryChangedByteIsAnErrorOrAnotherFile) {
  const std::string whole = read_file(kGolden);
  for (size_t i = 0; i < std::min<size_t>(whole.size(), 2000); ++i) {
    for (const unsigned value : {0x00u, 0x7Fu, 0x80u, 0xC1u, 0xC6u, 0xC9u, 0xDDu, 0xDFu, 0xFFu}) {
      std::string broken = whole;
      broken[i] = static_cast<char>(value);
      fault_of(broken);  // anything but a crash, a hang or a foreign exception
    }
  }
}

TEST(BrokenFlax, EachRuleHasItsFault) {
  const std::string shape2 = msgpack_array(1) + msgpack_integer(2), f32 = msgpack_text("float32");
  EXPECT_EQ(fault_of(map_of("a", array_of(shape2, f32, "12345678"))), FileFault::none);
  EXPECT_EQ(fault_of(""), FileFault::truncated);
  EXPECT_EQ(fault_of(msgpack_array(0)), FileFault::type);
  EXPECT_EQ(fault_of("\xC1"), FileFault::type);
  EXPECT_EQ(fault_of(map_of("a", array_of(shape2, f32, "1234567"))), FileFault::layout);
  EXPECT_EQ(fault_of(map_of("a", array_of(shape2, msgpack_text("float31"), "12345678"))), FileFault::unsupported);
  EXPECT_EQ(fault_of(map_of("a", array_of(shape2, msgpack_integer(1), "12345678"))), FileFault::type);
  EXPECT_EQ(fault_of(map_of("a", array_of(msgpack_integer(2), f32, "12345678"))), FileFault::type);
  EXPECT_EQ(fault_of(map_of("a", array_of(msgpack_array(1) + "\xFF", f32, "12345678"))), FileFault::range);
  const std::string huge = msgpack_integer(uint64_t{1} << 62);
  EXPECT_EQ(fault_of(map_of("a", array_of(msgpack_array(2) + huge + huge, f32, "12345678"))), FileFault::overflow);
  EXPECT_EQ(fault_of(map_of("a", array_of(msgpack_array(1) + msgpack_integer(UINT64_MAX), f32, ""))),
            FileFault::overflow);
  EXPECT_EQ(fault_of(map_of("\xFF", array_of(shape2, f32, "12345678"))), FileFault::utf8);
  EXPECT_EQ(fault_of(msgpack_map(1) + msgpack_integer(1) + msgpack_true()), FileFault::type);
  const std::string pair = msgpack_text("a") + msgpack_true();
  EXPECT_EQ(fault_of(msgpack_map(2) + pair + pair), FileFault::duplicate);
  EXPECT_EQ(fault_of(std::string("\xDF\xFF\xFF\xFF\xFF", 5) + pair), FileFault::truncated);
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += msgpack_map(1) + msgpack_text("a");
  EXPECT_EQ(fault_of(deep + msgpack_true()), FileFault::limit);
  EXPECT_EQ(fault_of(map_of("a", std::string(100'000, '\x91'))), FileFault::limit);
  const std::string chunked = msgpack_text("__msgpack_chunked_array__") + msgpack_true();
  EXPECT_EQ(fault_of(map_of("a", msgpack_map(1) + chunked)), FileFault::type);
  EXPECT_EQ(fault_of(map_of("a", msgpack_map(2) + chunked + msgpack_text("shape") + map_of("1", msgpack_integer(2)))),
            FileFault::layout);
}

}  // namespace
}  // namespace caravan::formats
