// CRC-32C (Castagnoli, RFC 3720), for what Caravan keeps on disk for itself and for TensorBoard's record files. By the
// processor's own instruction where it has one (5 GB/s a core; the tables: 1.5).
//
//   crc32c(std::as_bytes(std::span("123456789", 9)))      // 0xE3069283
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace caravan {

uint32_t crc32c(std::span<const std::byte> bytes, uint32_t before = 0);
uint32_t crc32c_of_file(const std::string& path);

namespace reference {
uint32_t crc32c(std::span<const std::byte> bytes, uint32_t before = 0);  // by tables alone
}

}  // namespace caravan
