// MessagePack, both ways.
#include "caravan/formats/msgpack.h"

#include <bit>

#include "caravan/base/checked.h"

namespace caravan::formats {
namespace {

using Kind = MsgpackValue::Kind;

std::string big_endian(uint64_t value, size_t size) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) text[size - 1 - i] = static_cast<char>(value >> (8 * i));
  return text;
}

// tag8, tag8 + 1, tag8 + 2 are followed by lengths of 1, 2, 4 bytes.
std::string with_length(unsigned tag8, uint64_t length, std::string_view what) {
  check(length <= UINT32_MAX, ErrorCode::unsupported, "{} of {} bytes is too long for msgpack", what, length);
  const size_t size = length < 256 ? 1 : length < 65536 ? 2 : 4;
  return static_cast<char>(tag8 + (size == 4 ? 2 : size - 1)) + big_endian(length, size);
}

// Up to 15 in the tag itself, else 2 or 4 bytes of count.
std::string with_count(unsigned short_tag, unsigned tag16, uint64_t count) {
  check(count <= UINT32_MAX, ErrorCode::unsupported, "{} elements are too many for msgpack", count);
  if (count < 16) return std::string(1, static_cast<char>(short_tag | count));
  return count < 65536 ? static_cast<char>(tag16) + big_endian(count, 2)
                       : static_cast<char>(tag16 + 1) + big_endian(count, 4);
}

}  // namespace

std::span<const std::byte> MsgpackReader::take(uint64_t n) {
  check_file(n <= bytes_.size() - at_, FileFault::truncated, path_, "{} bytes wanted at offset {}, {} are left", n, at_,
             bytes_.size() - at_);
  const auto taken = bytes_.subspan(at_, n);
  at_ += n;
  return taken;
}

uint64_t MsgpackReader::unsigned_number(size_t size) {
  uint64_t value = 0;
  for (const std::byte b : take(size)) value = value << 8 | static_cast<uint64_t>(b);
  return value;
}

MsgpackValue MsgpackReader::view(Kind kind, uint64_t length) { return {.kind = kind, .bytes = take(length)}; }

MsgpackValue MsgpackReader::container(Kind kind, uint64_t count) {
  const uint64_t least = kind == Kind::map ? 2 : 1;  // bytes of an element
  check_file(count <= (bytes_.size() - at_) / least, FileFault::truncated, path_,
             "{} elements at offset {}, {} bytes are left", count, at_, bytes_.size() - at_);
  return {.kind = kind, .count = count};
}

MsgpackValue MsgpackReader::integer(int64_t value) { return {.kind = Kind::integer, .integer = value}; }

MsgpackValue MsgpackReader::extension(uint64_t length) {
  const auto type = static_cast<int8_t>(unsigned_number(1));
  MsgpackValue value = view(Kind::extension, length);
  value.type = type;
  return value;
}

MsgpackValue MsgpackReader::next() {
  const auto tag = static_cast<unsigned>(unsigned_number(1));
  if (tag < 0x80) return integer(tag);
  if (tag < 0x90) return container(Kind::map, tag & 15);
  if (tag < 0xA0) return container(Kind::array, tag & 15);
  if (tag < 0xC0) return view(Kind::text, tag & 31);
  if (tag >= 0xE0) return integer(static_cast<int8_t>(tag));
  return tagged(tag);
}

MsgpackValue MsgpackReader::tagged(unsigned tag) {
  switch (tag) {
    case 0xC0:
      return {};
    case 0xC2:
    case 0xC3:
      return {.kind = Kind::boolean, .integer = tag & 1};
    case 0xC4:
    case 0xC5:
    case 0xC6:
      return view(Kind::binary, unsigned_number(size_t{1} << (tag - 0xC4)));
    case 0xC7:
    case 0xC8:
    case 0xC9:
      return extension(unsigned_number(size_t{1} << (tag - 0xC7)));
    case 0xCA:
      return {.kind = Kind::real, .real = std::bit_cast<float>(static_cast<uint32_t>(unsigned_number(4)))};
    case 0xCB:
      return {.kind = Kind::real, .real = std::bit_cast<double>(unsigned_number(8))};
    case 0xCC:
    case 0xCD:
    case 0xCE:
    case 0xCF:
      return integer(checked_cast<int64_t>(unsigned_number(size_t{1} << (tag - 0xCC)), path_));
    case 0xD0:
      return integer(static_cast<int8_t>(unsigned_number(1)));
    case 0xD1:
      return integer(static_cast<int16_t>(unsigned_number(2)));
    case 0xD2:
      return integer(static_cast<int32_t>(unsigned_number(4)));
    case 0xD3:
      return integer(static_cast<int64_t>(unsigned_number(8)));
    case 0xD4:
    case 0xD5:
    case 0xD6:
    case 0xD7:
    case 0xD8:
      return extension(uint64_t{1} << (tag - 0xD4));
    case 0xD9:
    case 0xDA:
    case 0xDB:
      return view(Kind::text, unsigned_number(size_t{1} << (tag - 0xD9)));
    case 0xDC:
    case 0xDD:
      return container(Kind::array, unsigned_number(tag == 0xDC ? 2 : 4));
    case 0xDE:
    case 0xDF:
      return container(Kind::map, unsigned_number(tag == 0xDE ? 2 : 4));
    default:
      fail_file(FileFault::type, path_, "byte 0x{:02x} at offset {} begins no msgpack value", tag, at_ - 1);
  }
}

std::string msgpack_map(uint64_t pairs) { return with_count(0x80, 0xDE, pairs); }
std::string msgpack_array(uint64_t elements) { return with_count(0x90, 0xDC, elements); }
std::string msgpack_true() { return "\xC3"; }

std::string msgpack_text(std::string_view text) {
  if (text.size() < 32) return static_cast<char>(0xA0 | text.size()) + std::string(text);
  return with_length(0xD9, text.size(), "a string").append(text);
}

std::string msgpack_integer(uint64_t value) {
  if (value < 128) return std::string(1, static_cast<char>(value));
  const size_t size = value < 256 ? 1 : value < 65536 ? 2 : value <= UINT32_MAX ? 4 : 8;
  return static_cast<char>(0xCC + std::countr_zero(size)) + big_endian(value, size);
}

std::string msgpack_begin_binary(uint64_t length) { return with_length(0xC4, length, "a binary"); }

std::string msgpack_begin_extension(int8_t type, uint64_t length) {
  const bool is_fixed = length == 1 || length == 2 || length == 4 || length == 8 || length == 16;
  const std::string begin = is_fixed ? std::string(1, static_cast<char>(0xD4 + std::countr_zero(length)))
                                     : with_length(0xC7, length, "an extension");
  return begin + static_cast<char>(type);
}

}  // namespace caravan::formats
