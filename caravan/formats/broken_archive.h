// For tests: zip archives and pickles made by hand, whose every byte a test can spoil.
//
//   Archive archive({{"a/data.pkl", pickle}, {"a/data/0", std::string(8, '\0')}});
//   archive.patch(archive.central[1] + 24, 9, 4);          // the directory's size of the second record
//   write_file(path, archive.bytes);
#pragma once

#include <zlib.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/base/file.h"

namespace caravan::formats::broken {

// Thousands of small files need not reach the disk.
class Unsynced {
  struct Files : FileSystem {
    int sync(int) override { return 0; }
  };
  Files files_;
  ScopedFileSystem scope_{files_};
};

inline std::string little(uint64_t value, int n) {
  std::string bytes;
  for (int i = 0; i < n; ++i) bytes.push_back(static_cast<char>(value >> (8 * i)));
  return bytes;
}

struct ArchiveRecord {
  std::string name, data;
  uint16_t method = 0;  // 8: deflated here
  uint16_t flags = 0;
  std::string extra;  // central directory only
};

struct Archive {
  explicit Archive(const std::vector<ArchiveRecord>& records, bool zip64 = false);
  void patch(size_t offset, uint64_t value, int n) { bytes.replace(offset, static_cast<size_t>(n), little(value, n)); }

  std::string bytes;
  std::vector<size_t> local, data, central;  // offsets, one a record
  size_t end64 = 0, locator = 0, end = 0;
};

inline Archive archive_of_one(const ArchiveRecord& record) { return Archive(std::vector<ArchiveRecord>{record}); }

inline std::string deflated(const std::string& text) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

inline Archive::Archive(const std::vector<ArchiveRecord>& records, bool zip64) {
  std::vector<std::string> shared;  // method, time, crc and sizes: the same bytes in both headers
  for (const ArchiveRecord& r : records) {
    const std::string packed = r.method == 8 ? deflated(r.data) : r.data;
    const auto crc = crc32(0, reinterpret_cast<const Bytef*>(r.data.data()), static_cast<uInt>(r.data.size()));
    shared.push_back(little(r.flags, 2) + little(r.method, 2) + little(0, 4) + little(crc, 4) +
                     little(packed.size(), 4) + little(r.data.size(), 4) + little(r.name.size(), 2));
    local.push_back(bytes.size());
    bytes += little(0x04034b50, 4) + little(20, 2) + shared.back() + little(0, 2) + r.name;
    data.push_back(bytes.size());
    bytes += packed;
  }
  const size_t directory = bytes.size();
  for (size_t i = 0; i < records.size(); ++i) {
    central.push_back(bytes.size());
    bytes += little(0x02014b50, 4) + little(20, 2) + little(20, 2) + shared[i] + little(records[i].extra.size(), 2) +
             little(0, 2) + little(0, 2) + little(0, 2) + little(0, 4) + little(local[i], 4) + records[i].name +
             records[i].extra;
  }
  const size_t size = bytes.size() - directory, n = records.size();
  if (zip64) {
    end64 = bytes.size();
    bytes += little(0x06064b50, 4) + little(44, 8) + little(45, 2) + little(45, 2) + little(0, 8) + little(n, 8) +
             little(n, 8) + little(size, 8) + little(directory, 8);
    locator = bytes.size();
    bytes += little(0x07064b50, 4) + little(0, 4) + little(end64, 8) + little(1, 4);
  }
  end = bytes.size();
  bytes += little(0x06054b50, 4) + little(0, 4) + little(n, 2) + little(n, 2) + little(size, 4) + little(directory, 4) +
           little(0, 2);
}

// --- pickles, protocol 2, without PROTO and STOP --------------------------------------------------------------------

inline std::string text(std::string_view s) { return "X" + little(s.size(), 4) + std::string(s); }
inline std::string global(std::string_view module, std::string_view name) {
  return "c" + std::string(module) + "\n" + std::string(name) + "\n";
}
inline std::string integer(int64_t value) { return "\x8a\x08" + little(static_cast<uint64_t>(value), 8); }
inline std::string tuple(std::initializer_list<std::string> items) {
  std::string out = "(";
  for (const std::string& item : items) out += item;
  return out + "t";
}
inline std::string ordered_dict() { return global("collections", "OrderedDict") + ")R"; }
inline std::string pickle(const std::string& body) { return "\x80\x02" + body + "."; }

struct StoredTensor {
  std::string storage_type = "FloatStorage", key = "0";
  int64_t numel = 4, offset = 0;
  std::vector<int64_t> shape = {2, 2}, stride = {2, 1};
};

inline std::string integers(const std::vector<int64_t>& values) {
  std::string out = "(";
  for (int64_t value : values) out += integer(value);
  return out + "t";
}
inline std::string storage(const StoredTensor& t) {
  return tuple({text("storage"), global("torch", t.storage_type), text(t.key), text("cpu"), integer(t.numel)}) + "Q";
}
inline std::string tensor(const StoredTensor& t = {}) {
  return global("torch._utils", "_rebuild_tensor_v2") +
         tuple({storage(t), integer(t.offset), integers(t.shape), integers(t.stride), "\x89", ordered_dict()}) + "R";
}
inline std::string dict(std::initializer_list<std::pair<std::string, std::string>> entries) {
  std::string out = "}(";
  for (const auto& [key, value] : entries) out += text(key) + value;
  return out + "u";
}

// A whole torch file around the body of its pickle; storage "0" has 16 bytes.
inline std::vector<ArchiveRecord> torch_records(const std::string& body) {
  return {{"a/data.pkl", pickle(body)},
          {"a/byteorder", "little"},
          {"a/data/0", std::string("\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10", 16)},
          {"a/version", "3\n"}};
}

}  // namespace caravan::formats::broken
