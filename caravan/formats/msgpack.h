// The part of MessagePack that Flax checkpoints use: a cursor over bytes, and the encoder's small pieces.
//
//   MsgpackReader reader(map->bytes(), path);
//   const MsgpackValue root = reader.next();       // of a map: count; its keys and values follow
//
// Source: the msgpack specification (github.com/msgpack/msgpack, spec.md). Nothing is copied and nothing recurses:
// strings, binaries and extensions are views of the bytes, every length is checked against the bytes left.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace caravan::formats {

struct MsgpackValue {
  enum class Kind { nil, boolean, integer, real, text, binary, extension, array, map };
  Kind kind = Kind::nil;
  int64_t integer = 0;  // integer; boolean: 0 or 1
  double real = 0;
  uint64_t count = 0;                // array: elements; map: pairs. They follow.
  int8_t type = 0;                   // extension
  std::span<const std::byte> bytes;  // text, binary, extension
  std::string_view text() const { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
};

class MsgpackReader {
 public:
  MsgpackReader(std::span<const std::byte> bytes, std::string_view path) : bytes_(bytes), path_(path) {}
  MsgpackValue next();
  bool at_end() const { return at_ == bytes_.size(); }
  size_t offset() const { return at_; }

 private:
  std::span<const std::byte> take(uint64_t n);
  uint64_t unsigned_number(size_t size);  // big-endian
  MsgpackValue view(MsgpackValue::Kind kind, uint64_t length);
  MsgpackValue container(MsgpackValue::Kind kind, uint64_t count);
  MsgpackValue integer(int64_t value);
  MsgpackValue extension(uint64_t length);
  MsgpackValue tagged(unsigned tag);

  std::span<const std::byte> bytes_;
  std::string_view path_;
  size_t at_ = 0;
};

// The shortest encodings, as msgpack-python writes them. What carries bytes is only begun: the bytes follow.
std::string msgpack_map(uint64_t pairs);
std::string msgpack_array(uint64_t elements);
std::string msgpack_text(std::string_view text);
std::string msgpack_integer(uint64_t value);
std::string msgpack_true();
std::string msgpack_begin_binary(uint64_t length);
std::string msgpack_begin_extension(int8_t type, uint64_t length);

}  // namespace caravan::formats
