// Memory of mapped files (base/file.h maps them).
#pragma once

#include <cstddef>
#include <span>

namespace caravan {

// Gives the memory of these mapped bytes back to the system; reading them again reads the file again. Bytes that no
// MappedFile maps are left alone.
void release_pages(std::span<const std::byte> bytes);

}  // namespace caravan
