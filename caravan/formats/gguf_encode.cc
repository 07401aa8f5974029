// Little-endian, unaligned, in the order of the format's description (ggml's docs/gguf.md).
#include "caravan/formats/gguf_encode.h"

#include <algorithm>

namespace caravan::formats {
namespace {

template <class T>
constexpr GgufType type_of() {
  if constexpr (std::is_same_v<T, bool>) return GgufType::boolean;
  if constexpr (std::is_same_v<T, uint8_t>) return GgufType::u8;
  if constexpr (std::is_same_v<T, uint32_t>) return GgufType::u32;
  if constexpr (std::is_same_v<T, int32_t>) return GgufType::i32;
  if constexpr (std::is_same_v<T, uint64_t>) return GgufType::u64;
  if constexpr (std::is_same_v<T, float>) return GgufType::f32;
  return GgufType::string;
}

struct ValueEncoder {
  GgufEncoder& out;
  std::string_view key;

  template <class T>
  void put(const T& value) {
    if constexpr (std::is_same_v<T, std::string>) {
      out.string(value);
    } else {
      out.number(value);
    }
  }
  template <class T>
  void operator()(const T& value) {
    out.key(key, type_of<T>());
    put(value);
  }
  template <class T>
  void operator()(const std::vector<T>& values) {
    out.array_key(key, type_of<T>(), values.size());
    for (const T& value : values) put(value);
  }
};

}  // namespace

GgufEncoder& GgufEncoder::raw(std::string_view encoded) {
  bytes_.append(encoded);
  return *this;
}

GgufEncoder& GgufEncoder::string(std::string_view s) {
  number<uint64_t>(s.size());
  bytes_.append(s);
  return *this;
}

GgufEncoder& GgufEncoder::header(uint32_t version, uint64_t tensors, uint64_t fields) {
  bytes_.append("GGUF");
  return number(version).number(tensors).number(fields);
}

GgufEncoder& GgufEncoder::key(std::string_view key, GgufType type) {
  return string(key).number(static_cast<uint32_t>(type));
}

GgufEncoder& GgufEncoder::array_key(std::string_view key, GgufType element, uint64_t count) {
  return this->key(key, GgufType::array).number(static_cast<uint32_t>(element)).number(count);
}

GgufEncoder& GgufEncoder::field(std::string_view key, const GgufValue& value) {
  std::visit(ValueEncoder{*this, key}, value);
  return *this;
}

GgufEncoder& GgufEncoder::tensor_info(std::string_view name, std::span<const int64_t> shape, uint32_t type,
                                      uint64_t offset) {
  string(name).number(static_cast<uint32_t>(shape.size()));
  std::for_each(shape.rbegin(), shape.rend(), [&](int64_t d) { number(d); });
  return number(type).number(offset);
}

GgufEncoder& GgufEncoder::pad(size_t alignment) {
  bytes_.resize((bytes_.size() + alignment - 1) / alignment * alignment, '\0');
  return *this;
}

}  // namespace caravan::formats
