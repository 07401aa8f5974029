// Writes zip archives of stored records, each beginning at a multiple of 64 bytes, as torch.save does.
//
// Source: PKWARE APPNOTE 6.3.10; the padding field "FB" is that of torch's inline_container.cc. zip64 fields are
// written where a size, an offset or the number of records needs them. Left out: compression.
//
//   AtomicFile file("pytorch_model.bin");
//   ZipWriter zip(file);
//   zip.add("archive/data/0", bytes);
//   zip.finish();
//   file.commit();
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/base/file.h"

namespace caravan::formats {

class ZipWriter {
 public:
  explicit ZipWriter(AtomicFile& file) : file_(file) {}
  void add(std::string_view name, std::span<const std::byte> bytes);
  void add(std::string_view name, std::string_view text) {
    add(name, std::as_bytes(std::span(text.data(), text.size())));
  }
  void finish();  // the directory

 private:
  struct Record {
    std::string name;
    uint32_t crc;
    uint64_t size, offset;
  };
  void write_directory_entry(const Record& record);

  AtomicFile& file_;
  std::vector<Record> records_;
};

}  // namespace caravan::formats
