// The structure of one GGUF file: header, fields, tensor infos, each checked before anything is allocated for it.
//
//   GgufPart part = parse_gguf(map->bytes(), path);   // views into the bytes
//
// Values are only measured here, not interpreted, apart from booleans (0 or 1) and general.alignment.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "caravan/formats/gguf.h"

namespace caravan::formats {

struct GgufPart {
  uint32_t version = 0;
  std::vector<GgufField> fields;
  std::vector<GgufTensor> tensors;
};

GgufPart parse_gguf(std::span<const std::byte> bytes, std::string_view where);

// Bytes of one value; 0 for strings and arrays.
size_t gguf_type_size(GgufType type);

// ggml's number of a tensor type, and back. -1 where GGUF has no such type.
int gguf_tensor_type(DType dtype);

}  // namespace caravan::formats
