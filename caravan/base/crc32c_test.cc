// CRC-32C against RFC 3720's values, and its two ways of computing against one another.
#include "caravan/base/crc32c.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/base/file.h"
#include "caravan/base/temporary_folder.h"

namespace caravan {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

TEST(Crc32c, HasTheStandardsValues) {
  EXPECT_EQ(crc32c(bytes_of("123456789")), 0xE3069283u);
  EXPECT_EQ(crc32c(bytes_of(std::string(32, '\0'))), 0x8A9136AAu);
  EXPECT_EQ(crc32c(bytes_of(std::string(32, '\xff'))), 0x62A8AB43u);
  EXPECT_EQ(crc32c({}), 0u);
  const TemporaryFolder folder;
  write_file(folder / "x", "123456789");
  EXPECT_EQ(crc32c_of_file(folder / "x"), 0xE3069283u);
}

TEST(Crc32c, TheInstructionAndTheTablesAgree) {
  std::vector<std::byte> data(4099);
  uint32_t state = 1;
  for (std::byte& b : data) b = static_cast<std::byte>((state = state * 1664525 + 1013904223) >> 24);
  for (const size_t offset : {0, 1, 3, 7}) {
    for (size_t n = 0; n < 40; ++n) {
      const auto part = std::span<const std::byte>(data).subspan(offset, n);
      EXPECT_EQ(crc32c(part, 5), reference::crc32c(part, 5)) << offset << " " << n;
    }
  }
  const std::span<const std::byte> all(data);
  EXPECT_EQ(crc32c(all), reference::crc32c(all));
  EXPECT_EQ(crc32c(all.subspan(1000), crc32c(all.first(1000))), crc32c(all));  // in parts
}

}  // namespace
}  // namespace caravan
