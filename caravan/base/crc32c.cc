#include "caravan/base/crc32c.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "caravan/base/file.h"

namespace caravan {
namespace {

constexpr uint32_t kPolynomial = 0x82F63B78;  // reflected
constexpr size_t kSlices = 8;

// table[k][b]: the checksum of byte b followed by k zero bytes ("slicing by 8", Kounavis & Berry 2005).
using Table = std::array<std::array<uint32_t, 256>, kSlices>;

constexpr Table make_table() {
  Table table{};
  for (uint32_t b = 0; b < 256; ++b) {
    uint32_t c = b;
    for (int bit = 0; bit < 8; ++bit) c = (c >> 1) ^ ((c & 1) != 0 ? kPolynomial : 0);
    table[0][b] = c;
  }
  for (size_t k = 1; k < kSlices; ++k) {
    for (size_t b = 0; b < 256; ++b) table[k][b] = (table[k - 1][b] >> 8) ^ table[0][table[k - 1][b] & 0xFF];
  }
  return table;
}

constexpr Table kTable = make_table();

// crc: inverted, as the polynomial division has it.
uint32_t divide(std::span<const std::byte> bytes, uint32_t crc) {
  size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, 8);  // little endian, as everywhere in the formats
    word ^= crc;
    crc = 0;
    for (size_t k = 0; k < kSlices; ++k) crc ^= kTable[kSlices - 1 - k][(word >> (8 * k)) & 0xFF];
  }
  for (; at < bytes.size(); ++at) crc = (crc >> 8) ^ kTable[0][(crc ^ static_cast<uint32_t>(bytes[at])) & 0xFF];
  return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t divide_by_instruction(std::span<const std::byte> bytes, uint32_t crc) {
  size_t at = 0;
  uint64_t wide = crc;
  for (; at + 8 <= bytes.size(); at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, 8);
    wide = _mm_crc32_u64(wide, word);
  }
  crc = static_cast<uint32_t>(wide);
  for (; at < bytes.size(); ++at) crc = _mm_crc32_u8(crc, static_cast<uint8_t>(bytes[at]));
  return crc;
}

bool has_instruction() {
  static const bool has = __builtin_cpu_supports("sse4.2");
  return has;
}
#else
uint32_t divide_by_instruction(std::span<const std::byte> bytes, uint32_t crc) { return divide(bytes, crc); }
bool has_instruction() { return false; }
#endif

}  // namespace

uint32_t crc32c(std::span<const std::byte> bytes, uint32_t before) {
  return ~(has_instruction() ? divide_by_instruction(bytes, ~before) : divide(bytes, ~before));
}

namespace reference {
uint32_t crc32c(std::span<const std::byte> bytes, uint32_t before) { return ~divide(bytes, ~before); }
}  // namespace reference

// Read piece by piece: mapped pages would count as this process's memory.
uint32_t crc32c_of_file(const std::string& path) {
  constexpr uint64_t kPiece = uint64_t{1} << 20;
  const FileReader file(path);
  std::vector<std::byte> piece(std::min(kPiece, file.size()));
  uint32_t crc = 0;
  for (uint64_t at = 0; at < file.size(); at += piece.size()) {
    const std::span some(piece.data(), std::min<uint64_t>(piece.size(), file.size() - at));
    file.read_at(at, some);
    crc = crc32c(some, crc);
  }
  return crc;
}

}  // namespace caravan
