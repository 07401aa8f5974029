#include "caravan/base/dtype.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string>

#include "caravan/base/checked.h"
#include "caravan/base/dtype_names.h"

namespace caravan {
namespace {

constexpr std::array kDTypes = std::to_array<DTypeInfo>({
    {DType::f64, "f64", 1, 8},       {DType::f32, "f32", 1, 4},         {DType::f16, "f16", 1, 2},
    {DType::bf16, "bf16", 1, 2},     {DType::i64, "i64", 1, 8},         {DType::i32, "i32", 1, 4},
    {DType::i16, "i16", 1, 2},       {DType::i8, "i8", 1, 1},           {DType::u8, "u8", 1, 1},
    {DType::boolean, "bool", 1, 1},  {DType::u16, "u16", 1, 2},         {DType::u32, "u32", 1, 4},
    {DType::u64, "u64", 1, 8},       {DType::f8_e4m3, "f8_e4m3", 1, 1}, {DType::f8_e5m2, "f8_e5m2", 1, 1},
    {DType::q4_0, "q4_0", 32, 18},   {DType::q4_1, "q4_1", 32, 20},     {DType::q5_0, "q5_0", 32, 22},
    {DType::q5_1, "q5_1", 32, 24},   {DType::q8_0, "q8_0", 32, 34},     {DType::q2_k, "q2_k", 256, 84},
    {DType::q3_k, "q3_k", 256, 110}, {DType::q4_k, "q4_k", 256, 144},   {DType::q5_k, "q5_k", 256, 176},
    {DType::q6_k, "q6_k", 256, 210}, {DType::iq4_nl, "iq4_nl", 32, 18}, {DType::iq4_xs, "iq4_xs", 256, 136},
});

struct Alias {
  std::string_view alias;
  DType dtype;
};
// Of several aliases of a type the first is numpy's.
constexpr std::array kAliases = std::to_array<Alias>({
    {"float64", DType::f64},
    {"double", DType::f64},
    {"float32", DType::f32},
    {"float", DType::f32},
    {"fp32", DType::f32},
    {"float16", DType::f16},
    {"half", DType::f16},
    {"fp16", DType::f16},
    {"bfloat16", DType::bf16},
    {"int64", DType::i64},
    {"int32", DType::i32},
    {"int16", DType::i16},
    {"int8", DType::i8},
    {"uint8", DType::u8},
    {"uint16", DType::u16},
    {"uint32", DType::u32},
    {"uint64", DType::u64},
    {"float8_e4m3fn", DType::f8_e4m3},
    {"float8_e5m2", DType::f8_e5m2},
});

}  // namespace

const DTypeInfo& dtype_info(DType dtype) { return kDTypes[static_cast<size_t>(dtype)]; }

bool is_floating_point(DType dtype) {
  return dtype <= DType::bf16 || dtype == DType::f8_e4m3 || dtype == DType::f8_e5m2;
}

std::optional<DType> find_dtype(std::string_view name) {
  if (name.starts_with("torch.")) name.remove_prefix(6);
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  for (const DTypeInfo& info : kDTypes) {
    if (info.name == lower) return info.dtype;
  }
  for (const Alias& alias : kAliases) {
    if (alias.alias == lower) return alias.dtype;
  }
  return std::nullopt;
}

std::string_view numpy_name(DType dtype) {
  for (const Alias& alias : kAliases) {
    if (alias.dtype == dtype) return alias.alias;
  }
  return is_block_quantized(dtype) ? "" : to_string(dtype);
}

std::optional<DType> find_numpy_dtype(std::string_view name) {
  const std::optional<DType> dtype = find_dtype(name);
  return dtype && numpy_name(*dtype) == name ? dtype : std::nullopt;
}

int64_t tensor_bytes(DType dtype, std::span<const int64_t> shape, std::string_view where) {
  const DTypeInfo& info = dtype_info(dtype);
  const int64_t numel = checked_numel(shape, where);
  const int64_t row = shape.empty() ? 1 : shape.back();
  check_file(row % info.block_size == 0, FileFault::layout, where,
             "rows of {} elements are no multiple of the {}-element {} block", row, info.block_size, info.name);
  return checked_mul<int64_t>(numel / info.block_size, info.block_bytes, where);
}

}  // namespace caravan
