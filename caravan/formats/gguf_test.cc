// Malformed classes are a table, one row a class (G01 ...): bytes made here, the fault they must give.
#include "caravan/formats/gguf.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <memory>

#include "caravan/base/error.h"
#include "caravan/formats/gguf_encode.h"
#include "caravan/formats/gguf_parse.h"

namespace caravan::formats {
namespace {

using Shape = std::vector<int64_t>;
constexpr uint32_t kF32 = 0, kQ4_0 = 2, kI8 = 24;

std::string temporary(const std::string& name) {
  return ::testing::TempDir() + "caravan_gguf_" + std::to_string(getpid()) + "_" + name;
}

// A file from its parts; a member left alone gives a valid file.
struct Image {
  uint32_t version = 3;
  GgufEncoder fields, infos;
  uint64_t field_count = 0, tensor_count = 0;
  std::string data;

  Image& field(std::string_view key, const GgufValue& value) {
    fields.field(key, value);
    ++field_count;
    return *this;
  }
  Image& raw_field(const GgufEncoder& encoded) {
    fields.raw(encoded.bytes());
    ++field_count;
    return *this;
  }
  Image& tensor(std::string_view name, const Shape& shape, uint32_t type, uint64_t offset) {
    infos.tensor_info(name, shape, type, offset);
    ++tensor_count;
    return *this;
  }
  std::string bytes(size_t alignment = 32) const {
    GgufEncoder out;
    out.header(version, tensor_count, field_count).raw(fields.bytes()).raw(infos.bytes());
    return out.pad(alignment).bytes() + data;
  }
};

// One field, two tensors: a [2, 3] f32 of 24 bytes, padded, and a [4] i8.
Image small_image() {
  Image image;
  image.field("general.architecture", "llama").tensor("a.weight", {2, 3}, kF32, 0).tensor("b", {4}, kI8, 32);
  image.data = std::string(32, '\1') + "\1\2\3\4";
  return image;
}

Image one_tensor(const Shape& shape, uint32_t type) { return Image().tensor("t", shape, type, 0); }

// Parsed from memory of exactly this size, so that a sanitizer sees every byte read behind the end.
std::string fault_of(const std::string& bytes) {
  const auto exact = std::make_unique<std::byte[]>(bytes.size());
  std::memcpy(exact.get(), bytes.data(), bytes.size());
  try {
    parse_gguf({exact.get(), bytes.size()}, "broken.gguf");
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("broken.gguf"), std::string::npos) << e.what();
    return std::string(to_string(e.fault()));
  }
  return "none";
}

TEST(Gguf, ReadsFieldsOfEveryTypeAndTensors) {
  Image image = small_image();
  image.raw_field(GgufEncoder().key("u8", GgufType::u8).number(uint8_t{200}));
  image.raw_field(GgufEncoder().key("i8", GgufType::i8).number(int8_t{-3}));
  image.raw_field(GgufEncoder().key("u16", GgufType::u16).number(uint16_t{60000}));
  image.raw_field(GgufEncoder().key("i16", GgufType::i16).number(int16_t{-30000}));
  image.raw_field(GgufEncoder().key("i64", GgufType::i64).number(int64_t{-1} << 40));
  image.raw_field(GgufEncoder().key("u64", GgufType::u64).number(uint64_t{1} << 63));
  image.raw_field(GgufEncoder().key("f64", GgufType::f64).number(0.1));
  image.raw_field(GgufEncoder().array_key("map", GgufType::u8, 3).number('a').number('\0').number('c'));
  image.raw_field(GgufEncoder().array_key("flags", GgufType::boolean, 2).number(true).number(false));
  image.field("f32", 0.5f).field("yes", true).field("strings", std::vector<std::string>{"a", "", "\xff"});
  image.field("ints", std::vector<int32_t>{-1, 2}).field("floats", std::vector<float>{1.5f});
  write_file(temporary("ok.gguf"), image.bytes());
  const auto file = GgufFile::open(temporary("ok.gguf"));

  EXPECT_EQ(file->version(), 3u);
  EXPECT_EQ(file->get_int("u8"), 200);
  EXPECT_EQ(file->get_int("i8"), -3);
  EXPECT_EQ(file->get_int("u16"), 60000);
  EXPECT_EQ(file->get_int("i16"), -30000);
  EXPECT_EQ(file->get_int("i64"), int64_t{-1} << 40);
  EXPECT_EQ(file->get_number("f64"), 0.1);
  EXPECT_EQ(file->get_number("f32"), 0.5);
  EXPECT_EQ(file->get_number("i8"), -3.0);
  EXPECT_TRUE(file->get_bool("yes"));
  EXPECT_EQ(file->get_string("general.architecture"), "llama");
  EXPECT_EQ(file->get_strings("strings"), (std::vector<std::string>{"a", "", "\xff"}));
  EXPECT_EQ(file->get_ints("ints"), (std::vector<int64_t>{-1, 2}));
  EXPECT_EQ(file->get_floats("floats"), (std::vector<float>{1.5f}));
  EXPECT_EQ(file->get_bytes("map"), std::string("a\0c", 3));
  EXPECT_EQ(file->get_int("absent", {}, 7), 7);
  EXPECT_TRUE(file->get_strings("absent").empty());

  ASSERT_EQ(file->tensors().size(), 2u);
  EXPECT_EQ(file->tensors()[0].shape, (Shape{2, 3}));
  EXPECT_EQ(file->tensors()[0].bytes.size(), 24u);
  const GgufTensor* b = file->find_tensor("b");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->dtype, DType::i8);
  EXPECT_EQ(b->bytes[2], std::byte{3});
}

TEST(Gguf, AskingForAnotherTypeOrRangeIsAnError) {
  Image image = small_image();
  image.field("n", uint32_t{5}).field("nan", std::nanf("")).field("list", std::vector<int32_t>{1});
  image.raw_field(GgufEncoder().key("huge", GgufType::u64).number(uint64_t{1} << 63));
  write_file(temporary("types.gguf"), image.bytes());
  const auto file = GgufFile::open(temporary("types.gguf"));
  const auto fault = [](const std::function<void()>& get) {
    try {
      get();
    } catch (const Error& e) {
      return e.fault();
    }
    return FileFault::none;
  };
  EXPECT_EQ(fault([&] { file->get_string("n"); }), FileFault::type);
  EXPECT_EQ(fault([&] { file->get_bool("n"); }), FileFault::type);
  EXPECT_EQ(fault([&] { file->get_strings("n"); }), FileFault::type);
  EXPECT_EQ(fault([&] { file->get_floats("list"); }), FileFault::type);
  EXPECT_EQ(fault([&] { file->get_int("list"); }), FileFault::type);
  EXPECT_EQ(fault([&] { file->get_int("general.architecture"); }), FileFault::type);
  EXPECT_EQ(fault([&] { file->get_int("n", {.min = 6}); }), FileFault::range);
  EXPECT_EQ(fault([&] { file->get_int("huge"); }), FileFault::overflow);
  EXPECT_EQ(fault([&] { file->get_int("absent"); }), FileFault::range);
  EXPECT_EQ(fault([&] { file->get_number("nan"); }), FileFault::range);
}

TEST(Gguf, VersionTwoVocabularyOnlyAndEmptyTensorsOpen) {
  Image image = small_image();
  image.version = 2;
  EXPECT_EQ(fault_of(image.bytes()), "none");
  EXPECT_EQ(fault_of(Image().field("tokenizer.ggml.tokens", std::vector<std::string>{"a", "b"}).bytes(1)), "none");
  EXPECT_EQ(fault_of(Image().bytes(1)), "none");
  EXPECT_EQ(fault_of(one_tensor({0, 5}, kF32).bytes()), "none");                    // G28
  EXPECT_EQ(fault_of(one_tensor({}, kF32).bytes() + std::string(4, 'x')), "none");  // a scalar
  EXPECT_EQ(fault_of(small_image().bytes() + "more bytes behind the data"), "none");
  Image aligned = one_tensor({1}, kF32).field("general.alignment", uint32_t{4096});
  aligned.data = std::string(4, '\0');
  EXPECT_EQ(fault_of(aligned.bytes(4096)), "none");
}

struct Malformed {
  const char* id;
  std::string bytes;
  const char* fault;
};

std::string patched(std::string bytes, size_t at, const std::string& with) {
  return bytes.replace(at, with.size(), with);
}
template <class T>
std::string raw(T value) {
  return GgufEncoder().number(value).bytes();
}

std::vector<Malformed> malformed_headers() {
  const std::string ok = small_image().bytes();
  Image two_keys = small_image().field("k", true).field("k", true);
  Image empty_key = small_image().field("", true);
  const auto field = [](const GgufEncoder& encoded) { return small_image().raw_field(encoded).bytes(); };
  const auto alignment = [](uint32_t a) { return small_image().field("general.alignment", a).bytes(); };
  constexpr uint64_t kMinusOne = ~uint64_t{0}, kHuge = uint64_t{1} << 40;
  return {
      {"G01 magic", patched(ok, 0, "GGML"), "magic"},
      {"G02 version 0", patched(ok, 4, raw(uint32_t{0})), "version"},
      {"G03 version 1", patched(ok, 4, raw(uint32_t{1})), "version"},
      {"G04 future version", patched(ok, 4, raw(uint32_t{4})), "version"},
      {"G05 big-endian", patched(ok, 4, raw(uint32_t{3} << 24)), "version"},
      {"G06 -1 tensors", patched(ok, 8, raw(kMinusOne)), "limit"},
      {"G07 2^40 tensors", patched(ok, 8, raw(kHuge)), "limit"},
      {"G08 -1 fields", patched(ok, 16, raw(kMinusOne)), "limit"},
      {"G09 2^40 fields", patched(ok, 16, raw(kHuge)), "limit"},
      {"G11 key length 2^64-1", patched(ok, 24, raw(kMinusOne)), "truncated"},
      {"G12 key longer than the file", patched(ok, 24, raw(uint64_t{ok.size()})), "truncated"},
      {"G13 empty key", empty_key.bytes(), "range"},
      {"G14 duplicate key", two_keys.bytes(), "duplicate"},
      {"G15 bad value type", field(GgufEncoder().string("k").number(uint32_t{13}).number(0)), "type"},
      {"G16 array of arrays", field(GgufEncoder().array_key("k", GgufType::array, 0)), "type"},
      {"G17 2^61 u64", field(GgufEncoder().array_key("k", GgufType::u64, uint64_t{1} << 61)), "overflow"},
      {"G18 array longer than the file", field(GgufEncoder().array_key("k", GgufType::u8, 1 << 20)), "truncated"},
      {"G18 string array longer", field(GgufEncoder().array_key("k", GgufType::string, kHuge)), "truncated"},
      {"G19 string in an array", field(GgufEncoder().array_key("k", GgufType::string, 1).number(kHuge)), "truncated"},
      {"G20 bool 2", field(GgufEncoder().key("k", GgufType::boolean).number('\2')), "range"},
      {"G20 bool 2 in an array", field(GgufEncoder().array_key("k", GgufType::boolean, 1).number('\2')), "range"},
      {"G21 alignment 0", alignment(0), "range"},
      {"G21 alignment 13", alignment(13), "range"},
      {"G21 alignment 2^31", alignment(1u << 31), "range"},
      {"G22 alignment u64", small_image().field("general.alignment", uint64_t{32}).bytes(), "type"},
      {"G22 alignment string", small_image().field("general.alignment", "32").bytes(), "type"},
      {"key is not UTF-8", small_image().field("k\xff", true).bytes(), "utf8"},
  };
}

std::vector<Malformed> malformed_tensors() {
  const auto info = [](const GgufEncoder& encoded) {
    Image image;
    image.tensor_count = 1;
    image.infos = encoded;
    image.data = std::string(64, '\0');
    return image.bytes();
  };
  const auto typed = [](uint32_t type) { return one_tensor({256}, type).bytes() + std::string(4096, '\0'); };
  constexpr int64_t k32 = int64_t{1} << 32, k62 = int64_t{1} << 62;
  const auto small = [](uint64_t second_offset) {
    Image image = one_tensor({1}, kF32).tensor("b", {1}, kF32, second_offset);
    image.data = std::string(256, '\0');
    return image.bytes();
  };
  Image huge_sum = one_tensor({k62}, kI8).tensor("b", {k62}, kI8, k62).tensor("c", {1}, kI8, 2 * uint64_t{k62});
  std::vector<Malformed> rows = {
      {"G23 name of 64 bytes", Image().tensor(std::string(64, 'n'), {0}, kF32, 0).bytes(), "limit"},
      {"G24 duplicate name", one_tensor({0}, kF32).tensor("t", {0}, kF32, 0).bytes(), "duplicate"},
      {"empty name", Image().tensor("", {0}, kF32, 0).bytes(), "range"},
      {"name is not UTF-8", Image().tensor("\xc0\xaf", {0}, kF32, 0).bytes(), "utf8"},
      {"G25 5 dimensions", one_tensor({1, 1, 1, 1, 1}, kF32).bytes() + std::string(32, '\0'), "range"},
      {"G26 2^32-1 dimensions", info(GgufEncoder().string("t").number(~uint32_t{0}).number(uint64_t{0})), "range"},
      {"G27 negative dimension", one_tensor({-1}, kF32).bytes(), "range"},
      {"G29 2^63 elements", one_tensor({k62, 2}, kI8).bytes(), "overflow"},
      {"G30 product 0 mod 2^64", one_tensor({k32, k32}, kF32).bytes(), "overflow"},
      {"G31 bytes overflow", one_tensor({k62}, kF32).bytes(), "overflow"},
      {"G32 half a block", one_tensor({2, 16}, kQ4_0).bytes() + std::string(64, '\0'), "layout"},
      {"G34 gap", small(64), "layout"},
      {"G34 overlap", small(0), "layout"},
      {"G35 unaligned", small(4), "layout"},
      {"G36 data short", one_tensor({2}, kF32).bytes() + std::string(7, '\0'), "truncated"},
      {"G36 no data", one_tensor({2}, kF32).bytes(1), "truncated"},
      {"G37 sum of sizes", huge_sum.bytes(), "overflow"},
      {"a type that is not read", typed(16), "unsupported"},
  };
  for (uint32_t type : {42u, 1000u, ~0u}) rows.push_back({"a type of a newer ggml", typed(type), "unsupported"});
  for (uint32_t type : {4u, 5u, 31u, 32u, 33u, 36u, 37u, 38u}) {
    rows.push_back({"G33 removed tensor type", typed(type), "type"});
  }
  return rows;
}

TEST(Gguf, EveryMalformedClassGivesItsFault) {
  for (const auto& rows : {malformed_headers(), malformed_tensors()}) {
    for (const Malformed& row : rows) EXPECT_EQ(fault_of(row.bytes), row.fault) << row.id;
  }
}

TEST(Gguf, AFileCutAtAnyByteIsTruncated) {  // G10, G36
  const std::string ok = small_image().bytes();
  for (size_t n = 0; n < ok.size(); ++n) EXPECT_EQ(fault_of(ok.substr(0, n)), "truncated") << n << " bytes";
  EXPECT_EQ(fault_of(ok), "none");
}

// --- split files --------------------------------------------------------------------------------------------------

struct Part {
  int64_t number, count, tensors;
};

void write_part(const std::string& name, const Part& part, const char* tensor) {
  Image image;
  image.raw_field(GgufEncoder().key("split.no", GgufType::u16).number(static_cast<uint16_t>(part.number)));
  image.raw_field(GgufEncoder().key("split.count", GgufType::u16).number(static_cast<uint16_t>(part.count)));
  image.field("split.tensors.count", static_cast<int32_t>(part.tensors)).field("general.name", tensor);
  image.tensor(tensor, {1}, kI8, 0);
  image.data = tensor;
  write_file(temporary(name), image.bytes());
}

FileFault open_fault(const std::string& name) {
  try {
    GgufFile::open(temporary(name));
  } catch (const Error& e) {
    return e.fault();
  }
  return FileFault::none;
}

TEST(Gguf, SplitFilesOpenFromAnyPart) {
  write_part("s-00001-of-00002.gguf", {0, 2, 2}, "x");
  write_part("s-00002-of-00002.gguf", {1, 2, 2}, "y");
  for (const char* name : {"s-00001-of-00002.gguf", "s-00002-of-00002.gguf"}) {
    const auto file = GgufFile::open(temporary(name));
    ASSERT_EQ(file->tensors().size(), 2u);
    EXPECT_EQ(file->get_string("general.name"), "x");
    EXPECT_EQ(file->find_tensor("y")->bytes[0], std::byte{'y'});
  }
}

TEST(Gguf, ContradictingSplitsAreLayoutErrors) {  // G42
  write_part("n-00001-of-00002.gguf", {2, 2, 2}, "x");
  EXPECT_EQ(open_fault("n-00001-of-00002.gguf"), FileFault::layout);
  write_part("m-00001-of-00002.gguf", {0, 2, 2}, "x");
  write_part("m-00002-of-00002.gguf", {0, 2, 2}, "y");
  EXPECT_EQ(open_fault("m-00001-of-00002.gguf"), FileFault::layout);
  write_part("m-00002-of-00002.gguf", {1, 3, 2}, "y");
  EXPECT_EQ(open_fault("m-00001-of-00002.gguf"), FileFault::layout);
  write_part("m-00001-of-00002.gguf", {0, 2, 5}, "x");
  write_part("m-00002-of-00002.gguf", {1, 2, 5}, "y");
  EXPECT_EQ(open_fault("m-00001-of-00002.gguf"), FileFault::layout);
  write_part("m-00001-of-00002.gguf", {0, 2, 2}, "x");
  EXPECT_EQ(open_fault("m-00001-of-00002.gguf"), FileFault::layout);
  write_part("m-00002-of-00002.gguf", {1, 2, 2}, "x");
  EXPECT_EQ(open_fault("m-00001-of-00002.gguf"), FileFault::duplicate);
  for (const auto& [first, second] : {std::pair{2, 3}, {3, 2}}) {  // one of the parts promises another sum
    write_part("m-00001-of-00002.gguf", {0, 2, first}, "x");
    write_part("m-00002-of-00002.gguf", {1, 2, second}, "y");
    EXPECT_EQ(open_fault("m-00001-of-00002.gguf"), FileFault::layout);
    EXPECT_EQ(open_fault("m-00002-of-00002.gguf"), FileFault::layout);
  }
  write_part("renamed.gguf", {0, 2, 2}, "x");
  EXPECT_EQ(open_fault("renamed.gguf"), FileFault::layout);
}

TEST(Gguf, AMissingPartIsNotFound) {
  write_part("gone-00001-of-00002.gguf", {0, 2, 2}, "x");
  try {
    GgufFile::open(temporary("gone-00001-of-00002.gguf"));
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::not_found);
    EXPECT_NE(std::string(e.what()).find("gone-00002-of-00002.gguf"), std::string::npos);
  }
}

}  // namespace
}  // namespace caravan::formats
