// Bytes of GGUF's parts: what the writer puts in front of the tensor data, and what tests bend out of shape.
//
//   GgufEncoder out;
//   out.header(3, tensors, fields);
//   out.field("llama.block_count", uint32_t{30});
//   out.tensor_info("token_embd.weight", std::array<int64_t, 2>{49152, 576}, 8, 0);
//   out.pad(32);
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "caravan/formats/gguf.h"
#include "caravan/formats/writer.h"

namespace caravan::formats {

class GgufEncoder {
 public:
  template <class T>
  GgufEncoder& number(T value) {
    static_assert(std::is_arithmetic_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  GgufEncoder& raw(std::string_view encoded);  // bytes as they are
  GgufEncoder& string(std::string_view s);     // length and bytes
  GgufEncoder& header(uint32_t version, uint64_t tensors, uint64_t fields);
  GgufEncoder& key(std::string_view key, GgufType type);
  GgufEncoder& array_key(std::string_view key, GgufType element, uint64_t count);
  GgufEncoder& field(std::string_view key, const GgufValue& value);
  // shape is row-major, as GgufTensor has it; the file gets it reversed.
  GgufEncoder& tensor_info(std::string_view name, std::span<const int64_t> shape, uint32_t type, uint64_t offset);
  GgufEncoder& pad(size_t alignment);
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

}  // namespace caravan::formats
