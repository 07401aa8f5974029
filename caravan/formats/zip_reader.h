// Reads zip archives as torch.save makes them, without trusting a byte of them.
//
// Source: PKWARE APPNOTE 6.3.10 (zip64 included). Left out on purpose: encryption, several disks, methods other than
// stored and deflate, archives that begin with something else. Records are used where they lie in the mapped file.
//
//   ZipReader zip(MappedFile::open("pytorch_model.bin"));
//   TensorBytes pickle = zip.contents(*zip.find("archive/data.pkl"));      // checksum verified, inflated if it must be
//   std::span<const std::byte> weights = zip.stored(*zip.find("archive/data/0"));      // in the map, nothing copied
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "caravan/base/file.h"
#include "caravan/formats/checkpoint.h"

namespace caravan::formats {

struct ZipEntry {
  std::string name;
  uint16_t flags = 0, method = 0;  // method: 0 stored, 8 deflate
  uint32_t crc = 0;                // 0: not recorded (torch.serialization.set_crc32_options(False))
  uint64_t size = 0, packed = 0;   // bytes inflated and as stored
  uint64_t header = 0, data = 0;   // offsets in the file: local header, first byte of the contents
};

class ZipReader {
 public:
  // Checks the whole directory: each local header against it, names, duplicates, overlaps, sizes, limits.
  explicit ZipReader(std::shared_ptr<const MappedFile> file);

  const std::vector<ZipEntry>& entries() const { return entries_; }  // in directory order
  const ZipEntry* find(std::string_view name) const;                 // nullptr where there is none
  const std::shared_ptr<const MappedFile>& file() const { return file_; }

  // The bytes in the map; unsupported for a compressed record.
  std::span<const std::byte> stored(const ZipEntry& entry) const;
  // The contents with their checksum verified; a compressed record (at most 64 MiB, ratio 100) is inflated into memory.
  TensorBytes contents(const ZipEntry& entry) const;

 private:
  struct Directory {
    uint64_t offset, size, entries;
  };
  Directory find_directory() const;
  Directory read_zip64_directory(uint64_t locator, const Directory& narrow) const;
  ZipEntry read_central(uint64_t& at, uint64_t end) const;
  void check_local(ZipEntry& entry, uint64_t limit) const;
  void check_overlaps() const;
  std::span<const std::byte> at(uint64_t offset, uint64_t n) const;

  std::shared_ptr<const MappedFile> file_;
  std::string_view path_;
  std::vector<ZipEntry> entries_;
  std::unordered_map<std::string_view, size_t> by_name_;
};

}  // namespace caravan::formats
