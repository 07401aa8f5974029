// Every malformed class S01-S28 of the format, and what is legal though it looks odd.
#include "caravan/formats/safetensors_header.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "caravan/base/error.h"

namespace caravan::formats {
namespace {

// A file: the length of the header (the real one, unless given), the header, `data` bytes.
std::string file_of(const std::string& header, size_t data = 0, std::optional<uint64_t> length = std::nullopt) {
  const uint64_t n = length.value_or(header.size());
  return std::string(reinterpret_cast<const char*>(&n), sizeof n) + header + std::string(data, '\1');
}

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                   const std::string& offsets) {
  return fmt::format(R"("{}":{{"dtype":"{}","shape":{},"data_offsets":{}}})", name, dtype, shape, offsets);
}

std::string object(const std::string& members) { return "{" + members + "}"; }

SafetensorsHeader parse(const std::string& file) {
  return parse_safetensors_header(std::as_bytes(std::span(file)), "x.safetensors");
}

FileFault fault_of(const std::string& file) {
  try {
    parse(file);
  } catch (const Error& e) {
    return e.fault();
  }
  return FileFault::none;
}

struct BrokenFile {
  const char* id;
  FileFault expected;
  std::function<std::string()> bytes;
};

class BrokenSafetensors : public ::testing::TestWithParam<BrokenFile> {};

TEST_P(BrokenSafetensors, IsRefusedWithItsFault) {
  EXPECT_EQ(to_string(fault_of(GetParam().bytes())), to_string(GetParam().expected));
}

std::string ten_million_tensors() {
  std::string header = "{";
  for (int i = 0; i < 1'500'000; ++i) header += tensor(std::to_string(i), "U8", "[0]", "[0,0]") + ",";
  return header.substr(0, header.size() - 1) + "}";
}

const BrokenFile kBroken[] = {
    {"S01_empty", FileFault::truncated, [] { return std::string(); }},
    {"S02_seven_bytes", FileFault::truncated, [] { return std::string(7, '\0'); }},
    {"S03_no_header", FileFault::json, [] { return file_of(""); }},
    {"S04_length_max", FileFault::limit, [] { return file_of("{}", 0, UINT64_MAX); }},
    {"S05_length_over_limit", FileFault::limit, [] { return file_of("{}", 0, 100'000'001); }},
    {"S06_header_longer_than_file", FileFault::truncated, [] { return file_of("{}", 0, 3); }},
    {"S07_bad_utf8", FileFault::utf8, [] { return file_of("{\"\xff\":1}"); }},
    {"S08_only_a_brace", FileFault::json, [] { return file_of("{"); }},
    {"S09_array", FileFault::json, [] { return file_of("[]"); }},
    {"S09_number", FileFault::json, [] { return file_of("12"); }},
    {"S10_text_after", FileFault::json, [] { return file_of("{} x"); }},
    {"S10_nul_padding", FileFault::json, [] { return file_of(std::string("{}\0\0", 4)); }},
    {"S10_byte_order_mark", FileFault::json, [] { return file_of("\xEF\xBB\xBF{}"); }},
    {"S13_duplicate_tensor", FileFault::duplicate,
     [] { return file_of(object(tensor("a", "U8", "[1]", "[0,1]") + "," + tensor("a", "U8", "[1]", "[1,2]")), 2); }},
    {"S13_duplicate_field", FileFault::duplicate,
     [] { return file_of(R"({"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1); }},
    {"S14_duplicate_metadata", FileFault::duplicate,
     [] { return file_of(R"({"__metadata__":{},"__metadata__":{}})"); }},
    {"S14_duplicate_metadata_key", FileFault::duplicate,
     [] { return file_of(R"({"__metadata__":{"a":"1","a":"2"}})"); }},
    {"S15_metadata_number", FileFault::type, [] { return file_of(R"({"__metadata__":{"a":1}})"); }},
    {"S15_metadata_list", FileFault::type, [] { return file_of(R"({"__metadata__":[]})"); }},
    {"S15_metadata_nested", FileFault::type, [] { return file_of(R"({"__metadata__":{"a":{"b":"c"}}})"); }},
    {"S16_unknown_dtype", FileFault::type, [] { return file_of(object(tensor("a", "F31", "[1]", "[0,4]")), 4); }},
    {"S16_dtype_number", FileFault::type,
     [] { return file_of(R"({"a":{"dtype":1,"shape":[],"data_offsets":[0,4]}})", 4); }},
    {"S17_negative_shape", FileFault::type, [] { return file_of(object(tensor("a", "U8", "[-1]", "[0,1]")), 1); }},
    {"S17_minus_zero", FileFault::type, [] { return file_of(object(tensor("a", "U8", "[-0]", "[0,0]"))); }},
    {"S18_float_shape", FileFault::type, [] { return file_of(object(tensor("a", "U8", "[1e3]", "[0,1000]")), 1000); }},
    {"S18_null_shape", FileFault::type, [] { return file_of(object(tensor("a", "U8", "null", "[0,1]")), 1); }},
    {"S18_nested_shape", FileFault::type, [] { return file_of(object(tensor("a", "U8", "[[1]]", "[0,1]")), 1); }},
    {"S18_missing_shape", FileFault::type, [] { return file_of(R"({"a":{"dtype":"U8","data_offsets":[0,1]}})", 1); }},
    {"S18_tensor_is_a_number", FileFault::type, [] { return file_of(R"({"a":1})"); }},
    {"S18_one_offset", FileFault::type,
     [] { return file_of(R"({"a":{"data_offsets":[0],"dtype":"U8","shape":[0]}})"); }},
    {"S18_three_offsets", FileFault::type, [] { return file_of(object(tensor("a", "U8", "[1]", "[0,1,1]")), 1); }},
    {"S19_numel_overflows", FileFault::overflow,
     [] { return file_of(object(tensor("a", "U8", "[4294967296,4294967296]", "[0,1]")), 1); }},
    {"S19_dimension_of_2_63", FileFault::overflow,
     [] { return file_of(object(tensor("a", "U8", "[9223372036854775808]", "[0,1]")), 1); }},
    {"S20_bytes_overflow", FileFault::overflow,
     [] { return file_of(object(tensor("a", "F64", "[2305843009213693952]", "[0,0]"))); }},
    {"S21_reversed", FileFault::layout, [] { return file_of(object(tensor("a", "U8", "[1]", "[1,0]")), 1); }},
    {"S22_overlap", FileFault::layout,
     [] { return file_of(object(tensor("a", "U8", "[2]", "[0,2]") + "," + tensor("b", "U8", "[2]", "[1,3]")), 3); }},
    {"S23_hole", FileFault::layout,
     [] { return file_of(object(tensor("a", "U8", "[1]", "[0,1]") + "," + tensor("b", "U8", "[1]", "[2,3]")), 3); }},
    {"S23_hole_at_start", FileFault::layout, [] { return file_of(object(tensor("a", "U8", "[1]", "[1,2]")), 2); }},
    {"S24_past_the_end", FileFault::layout, [] { return file_of(object(tensor("a", "U8", "[9]", "[0,9]")), 8); }},
    {"S24_shape_smaller_than_offsets", FileFault::layout,
     [] { return file_of(object(tensor("a", "F32", "[2]", "[0,4]")), 4); }},
    {"S25_extra_bytes", FileFault::layout, [] { return file_of(object(tensor("a", "U8", "[1]", "[0,1]")), 3); }},
    {"S25_data_without_tensors", FileFault::layout, [] { return file_of("{}", 5); }},
    {"S26_two_bytes_missing", FileFault::layout, [] { return file_of(object(tensor("a", "F32", "[2]", "[0,8]")), 6); }},
    {"S27_too_many_tensors", FileFault::limit, [] { return file_of(ten_million_tensors()); }},
    {"S27_deep", FileFault::limit, [] { return file_of("{\"a\":" + std::string(100'000, '[')); }},
    {"S27_deep_header", FileFault::limit, [] { return file_of(std::string(100'000, '[')); }},
    {"S27_rank", FileFault::limit,
     [] { return file_of(object(tensor("a", "U8", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "[0,1]")), 1); }},
    {"S27_long_name", FileFault::limit,
     [] { return file_of(object(tensor(std::string(5000, 'n'), "U8", "[1]", "[0,1]")), 1); }},
    {"S28_half_bytes", FileFault::unsupported, [] { return file_of(object(tensor("a", "F4", "[3]", "[0,2]")), 2); }},
    {"S28_complex", FileFault::unsupported, [] { return file_of(object(tensor("a", "C64", "[1]", "[0,8]")), 8); }},
};

INSTANTIATE_TEST_SUITE_P(Classes, BrokenSafetensors, ::testing::ValuesIn(kBroken),
                         [](const auto& info) { return info.param.id; });

TEST(SafetensorsHeader, WhitespaceAroundTheObjectIsLegal) {  // S11, S12
  EXPECT_EQ(fault_of(file_of("   \t\n\r {}  \n\t")), FileFault::none);
}

TEST(SafetensorsHeader, EmptyTensorsScalarsAndAnyOrderAreLegal) {
  const SafetensorsHeader header =
      parse(file_of(object(tensor("b", "F32", "[2]", "[8,16]") + "," + tensor("none", "F16", "[3,0]", "[0,0]") + "," +
                           tensor("a", "F64", "[]", "[0,8]") + R"(,"__metadata__":{"format":"pt"})"),
                    16));
  ASSERT_EQ(header.entries.size(), 3u);
  EXPECT_EQ(header.entries[0].tensor.name, "none");
  EXPECT_EQ(header.entries[1].tensor.name, "a");
  EXPECT_EQ(header.entries[1].tensor.shape, std::vector<int64_t>{});
  EXPECT_EQ(header.entries[2].begin, 8u);
  EXPECT_EQ(header.metadata.at("format"), "pt");
}

TEST(SafetensorsHeader, UnknownFieldsAndANullMetadataAreSkipped) {  // as the reference does
  EXPECT_EQ(
      fault_of(file_of(
          R"({"a":{"x":{"dtype":[1,{"y":null}]},"dtype":"U8","z":[1,"s"],"shape":[1],"data_offsets":[0,1]}})", 1)),
      FileFault::none);
  EXPECT_EQ(fault_of(file_of(R"({"__metadata__":null})")), FileFault::none);
}

TEST(SafetensorsHeader, EveryCutOfAFileIsRefused) {
  const std::string whole =
      file_of(object(tensor("weight", "F32", "[2,3]", "[0,24]") + R"(,"__metadata__":{"format":"pt"})"), 24);
  ASSERT_EQ(fault_of(whole), FileFault::none);
  for (size_t n = 0; n < whole.size(); ++n) EXPECT_NE(fault_of(whole.substr(0, n)), FileFault::none) << n << " bytes";
}

TEST(SafetensorsHeader, WhatIsMadeParsesToTheSame) {
  const std::vector<TensorInfo> plan = {
      {"a\"\n\u00fc", DType::bf16, {2, 3}}, {"empty", DType::f8_e5m2, {0}}, {"s", DType::boolean, {}}};
  const std::string header = make_safetensors_header(plan, {{"format", "pt"}, {"k", "ü"}});
  EXPECT_EQ(header.size() % 8, 0u);
  const SafetensorsHeader parsed = parse(header + std::string(13, '\0'));
  ASSERT_EQ(parsed.entries.size(), 3u);
  for (size_t i = 0; i < plan.size(); ++i) {
    EXPECT_EQ(parsed.entries[i].tensor.name, plan[i].name);
    EXPECT_EQ(parsed.entries[i].tensor.dtype, plan[i].dtype);
    EXPECT_EQ(parsed.entries[i].tensor.shape, plan[i].shape);
  }
  EXPECT_EQ(parsed.metadata.at("k"), "ü");
  EXPECT_THROW(make_safetensors_header({{{"q", DType::q4_0, {32}}}}, {}), Error);
  EXPECT_THROW(make_safetensors_header({{{"\xff", DType::u8, {1}}}}, {}), Error);
}

}  // namespace
}  // namespace caravan::formats
