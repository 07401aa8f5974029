// CRC-32C (Castagnoli, RFC 3720), for checkpoint manifests and for TensorBoard's record files.
//
//   crc32c(std::as_bytes(std::span("123456789", 9)))      // 0xE3069283
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace caravan::train {

uint32_t crc32c(std::span<const std::byte> bytes, uint32_t before = 0);
uint32_t crc32c_of_file(const std::string& path);

}  // namespace caravan::train
