// The header of a safetensors file: u64 length N, N bytes of JSON {name: {dtype, shape, data_offsets}}, then the data.
//
//   SafetensorsHeader header = parse_safetensors_header(map->bytes(), path);
//   auto bytes = map->bytes().subspan(header.data_begin + e.begin, e.end - e.begin);   // of each entry e
//
// Source: huggingface/safetensors, safetensors/src/tensor.rs; its checks are made in its order, so that the two can be
// compared file by file. Stricter than the reference: no duplicate keys at all; at most 1,000,000 tensors, rank 16,
// names of 4,096 bytes, JSON depth 8; tensors only as objects. Types of less than a byte, complex and F8 without
// infinities are refused as unsupported.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/formats/checkpoint.h"

namespace caravan::formats {

struct SafetensorsEntry {
  TensorInfo tensor;
  uint64_t begin = 0, end = 0;  // bytes, counted from the start of the data
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // in the order of their data
  std::map<std::string, std::string> metadata;
  uint64_t data_begin = 0;  // offset in the file
};

SafetensorsHeader parse_safetensors_header(std::span<const std::byte> file, std::string_view path);

// Length, JSON and padding to 8 bytes for tensors whose data follows in this order.
std::string make_safetensors_header(std::span<const TensorInfo> tensors,
                                    const std::map<std::string, std::string>& metadata);

bool safetensors_holds(DType dtype);

}  // namespace caravan::formats
