// Directory first, then every local header against it. Field offsets are those of APPNOTE 4.3.7 (local), 4.3.12
// (central), 4.3.14-16 (ends).
#include "caravan/formats/zip_reader.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>

#include "caravan/base/checked.h"
#include "caravan/base/error.h"

namespace caravan::formats {
namespace {

constexpr uint32_t kLocal = 0x04034b50, kCentral = 0x02014b50, kEnd = 0x06054b50, kEnd64 = 0x06064b50,
                   kLocator64 = 0x07064b50, kDescriptor = 0x08074b50;
constexpr uint64_t kEndBytes = 22, kLocatorBytes = 20, kEnd64Bytes = 56, kCentralBytes = 46, kLocalBytes = 30;
constexpr uint32_t kWide32 = 0xffffffff;  // the value is in the zip64 field
constexpr uint16_t kWide16 = 0xffff;
constexpr uint16_t kEncrypted = 1 | 1 << 6 | 1 << 13, kHasDescriptor = 1 << 3;
constexpr uint64_t kMaxInflated = 64 << 20, kMaxRatio = 100, kMaxName = 4096;

// A little-endian number at the start of bytes that are known to be long enough.
template <class T>
T number(std::span<const std::byte> bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.subspan(offset, sizeof(T)).data(), sizeof(T));
  return value;
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// No entry may name a place outside its archive: not absolute, no "..", no empty part.
void check_entry_name(std::string_view name, std::string_view path) {
  bool safe = !name.empty() && name.size() <= kMaxName && name.find('\\') == name.npos && name.find('\0') == name.npos;
  std::string_view rest = name.ends_with('/') ? name.substr(0, name.size() - 1) : name;
  for (bool more = safe; more && safe;) {
    const size_t slash = rest.find('/');
    const std::string_view part = rest.substr(0, slash);
    safe = !part.empty() && part != "." && part != "..";
    more = slash != rest.npos;
    if (more) rest = rest.substr(slash + 1);
  }
  check_file(safe, FileFault::path, path, "the zip entry '{}' is not a plain relative name", name.substr(0, 200));
}

// The 8-byte values of the zip64 extra field (id 1), in its fixed order, for the fields that say "see there". Writers
// repeat the directory's field in the local header, where it may hold more than is asked for: no `exact` there.
void widen(std::span<const std::byte> extra, std::span<uint64_t* const> fields, bool exact, std::string_view name,
           std::string_view path) {
  while (extra.size() >= 4) {
    const auto id = number<uint16_t>(extra, 0);
    const size_t n = number<uint16_t>(extra, 2);
    if (id != 1) {  // torch's padding ("FB") among others; a last field cut short carries nothing that is used
      extra = extra.subspan(std::min(extra.size(), 4 + n));
      continue;
    }
    check_file((exact ? n == 8 * fields.size() : n >= 8 * fields.size()) && extra.size() >= 4 + n, FileFault::layout,
               path, "'{}': the zip64 field has {} bytes, the header asks it for {} values", name, n, fields.size());
    for (size_t i = 0; i < fields.size(); ++i) *fields[i] = number<uint64_t>(extra, 4 + 8 * i);
    return;
  }
  check_file(fields.empty(), FileFault::layout, path, "'{}': a size points to a zip64 field that is not there", name);
}

std::vector<uint64_t*> wide_fields(std::initializer_list<uint64_t*> fields) {
  std::vector<uint64_t*> wide;
  for (uint64_t* field : fields) {
    if (*field == kWide32) wide.push_back(field);
  }
  return wide;
}

std::vector<std::byte> inflate_raw(std::span<const std::byte> packed, uint64_t size, std::string_view name,
                                   std::string_view path) {
  std::vector<std::byte> out(size);
  z_stream stream{};
  check(inflateInit2(&stream, -MAX_WBITS) == Z_OK, ErrorCode::out_of_memory, "{}: cannot start zlib", path);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  Bytef none = 0;
  stream.next_out = out.empty() ? &none : reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int result = inflate(&stream, Z_FINISH);
  const bool whole = result == Z_STREAM_END && stream.avail_out == 0 && stream.avail_in == 0;
  inflateEnd(&stream);
  check_file(whole, FileFault::layout, path, "'{}' does not inflate to the {} bytes that its header promises", name,
             size);
  return out;
}

}  // namespace

ZipReader::ZipReader(std::shared_ptr<const MappedFile> file) : file_(std::move(file)), path_(file_->path()) {
  const std::span<const std::byte> bytes = file_->bytes();
  const bool is_zip = bytes.size() >= 4 && (number<uint32_t>(bytes, 0) == kLocal || number<uint32_t>(bytes, 0) == kEnd);
  check_file(is_zip, FileFault::magic, path_, "not a zip archive");
  const Directory directory = find_directory();
  const uint64_t end = checked_add<uint64_t>(directory.offset, directory.size, path_);
  check_file(directory.entries <= directory.size / kCentralBytes, FileFault::truncated, path_,
             "{} zip entries in a directory of {} bytes", directory.entries, directory.size);
  entries_.reserve(directory.entries);
  uint64_t position = directory.offset;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    entries_.push_back(read_central(position, end));
    check_local(entries_.back(), directory.offset);
  }
  check_file(position == end, FileFault::layout, path_, "the zip directory holds {} bytes more than its entries",
             end - position);
  by_name_.reserve(entries_.size());
  for (size_t i = 0; i < entries_.size(); ++i) {
    check_file(by_name_.emplace(entries_[i].name, i).second, FileFault::duplicate, path_, "two zip entries named '{}'",
               entries_[i].name);
  }
  check_overlaps();
}

std::span<const std::byte> ZipReader::at(uint64_t offset, uint64_t n) const {
  const std::span<const std::byte> bytes = file_->bytes();
  check_file(offset <= bytes.size() && n <= bytes.size() - offset, FileFault::truncated, path_,
             "{} bytes wanted at offset {}, the file has {}", n, offset, bytes.size());
  return bytes.subspan(offset, n);
}

ZipReader::Directory ZipReader::find_directory() const {
  const std::span<const std::byte> bytes = file_->bytes();
  const uint64_t last = bytes.size() < kEndBytes ? 0 : bytes.size() - kEndBytes;
  const uint64_t first = last > kWide16 ? last - kWide16 : 0;  // the end record, then a comment of at most 65,535 bytes
  for (uint64_t position = last + 1; position-- > first && bytes.size() >= kEndBytes;) {
    const auto record = bytes.subspan(position, kEndBytes);
    if (number<uint32_t>(record, 0) != kEnd) continue;
    if (position + kEndBytes + number<uint16_t>(record, 20) != bytes.size()) continue;
    Directory directory{number<uint32_t>(record, 16), number<uint32_t>(record, 12), number<uint16_t>(record, 10)};
    const auto disk = number<uint16_t>(record, 4), directory_disk = number<uint16_t>(record, 6);
    const bool zip64 = position >= kLocatorBytes && number<uint32_t>(bytes, position - kLocatorBytes) == kLocator64;
    uint64_t limit = position;
    if (zip64) {
      limit = number<uint64_t>(bytes, position - kLocatorBytes + 8);
      directory = read_zip64_directory(position - kLocatorBytes, directory);
    } else {
      check_file(disk == 0 && directory_disk == 0, FileFault::unsupported, path_, "a zip archive of several disks");
      check_file(number<uint16_t>(record, 8) == directory.entries, FileFault::layout, path_,
                 "two zip entry counts differ");
    }
    check_file(directory.offset <= limit && directory.size <= limit - directory.offset, FileFault::truncated, path_,
               "the zip directory ({} bytes at offset {}) lies outside of the file", directory.size, directory.offset);
    check_file(directory.size == limit - directory.offset, FileFault::layout, path_,
               "{} bytes between the zip directory and its end record", limit - directory.offset - directory.size);
    return directory;
  }
  fail_file(FileFault::truncated, path_, "no zip end record: the file is cut off or not completely downloaded");
}

// The narrow fields must be "see zip64" or say the same.
ZipReader::Directory ZipReader::read_zip64_directory(uint64_t locator, const Directory& narrow) const {
  const std::span<const std::byte> bytes = at(locator, kLocatorBytes);
  check_file(number<uint32_t>(bytes, 4) == 0 && number<uint32_t>(bytes, 16) <= 1, FileFault::unsupported, path_,
             "a zip archive of several disks");
  const auto offset = number<uint64_t>(bytes, 8);
  check_file(offset <= locator && locator - offset >= kEnd64Bytes, FileFault::truncated, path_,
             "the zip64 end record (offset {}) lies outside of the file", offset);
  const std::span<const std::byte> end = at(offset, kEnd64Bytes);
  check_file(number<uint32_t>(end, 0) == kEnd64 && number<uint64_t>(end, 4) == locator - offset - 12, FileFault::layout,
             path_, "no zip64 end record at offset {}", offset);
  check_file(number<uint32_t>(end, 16) == 0 && number<uint32_t>(end, 20) == 0, FileFault::unsupported, path_,
             "a zip archive of several disks");
  const Directory wide{number<uint64_t>(end, 48), number<uint64_t>(end, 40), number<uint64_t>(end, 32)};
  const bool agree = (narrow.offset == kWide32 || narrow.offset == wide.offset) &&
                     (narrow.size == kWide32 || narrow.size == wide.size) &&
                     (narrow.entries == kWide16 || narrow.entries == wide.entries) &&
                     number<uint64_t>(end, 24) == wide.entries;
  check_file(agree, FileFault::layout, path_, "the zip64 end record and the end record contradict each other");
  return wide;
}

ZipEntry ZipReader::read_central(uint64_t& position, uint64_t end) const {
  check_file(position <= end && end - position >= kCentralBytes, FileFault::truncated, path_,
             "the zip directory is cut off at offset {}", position);
  const std::span<const std::byte> header = at(position, kCentralBytes);
  check_file(number<uint32_t>(header, 0) == kCentral, FileFault::layout, path_, "no zip directory entry at offset {}",
             position);
  const uint64_t name_bytes = number<uint16_t>(header, 28), extra_bytes = number<uint16_t>(header, 30),
                 comment_bytes = number<uint16_t>(header, 32);
  const uint64_t total = kCentralBytes + name_bytes + extra_bytes + comment_bytes;
  check_file(total <= end - position, FileFault::truncated, path_, "the zip directory is cut off at offset {}",
             position);
  ZipEntry entry{.name = std::string(text_of(at(position + kCentralBytes, name_bytes))),
                 .flags = number<uint16_t>(header, 8),
                 .method = number<uint16_t>(header, 10),
                 .crc = number<uint32_t>(header, 16),
                 .size = number<uint32_t>(header, 24),
                 .packed = number<uint32_t>(header, 20),
                 .header = number<uint32_t>(header, 42)};
  check_entry_name(entry.name, path_);
  const auto wide = wide_fields({&entry.size, &entry.packed, &entry.header});
  widen(at(position + kCentralBytes + name_bytes, extra_bytes), wide, true, entry.name, path_);
  check_file(number<uint16_t>(header, 34) == 0, FileFault::unsupported, path_, "a zip archive of several disks");
  check_file((entry.flags & kEncrypted) == 0, FileFault::unsupported, path_, "'{}' is encrypted", entry.name);
  check_file(entry.method == 0 || entry.method == 8, FileFault::unsupported, path_,
             "'{}' is compressed by method {}; only stored and deflate are read", entry.name, entry.method);
  check_file(entry.method != 0 || entry.size == entry.packed, FileFault::layout, path_,
             "'{}' is stored, yet its sizes differ: {} and {}", entry.name, entry.size, entry.packed);
  check_file(entry.method == 0 || entry.size / kMaxRatio <= entry.packed, FileFault::limit, path_,
             "'{}' claims to inflate {} bytes to {}", entry.name, entry.packed, entry.size);
  position += total;
  return entry;
}

// Fills in where the contents start.
void ZipReader::check_local(ZipEntry& entry, uint64_t limit) const {
  check_file(entry.header <= limit && limit - entry.header >= kLocalBytes, FileFault::truncated, path_,
             "the local header of '{}' (offset {}) lies outside of the file", entry.name, entry.header);
  const std::span<const std::byte> header = at(entry.header, kLocalBytes);
  const uint64_t name_bytes = number<uint16_t>(header, 26), extra_bytes = number<uint16_t>(header, 28);
  check_file(number<uint32_t>(header, 0) == kLocal, FileFault::layout, path_, "no local header of '{}' at offset {}",
             entry.name, entry.header);
  entry.data = entry.header + kLocalBytes + name_bytes + extra_bytes;
  check_file(entry.data <= limit && entry.packed <= limit - entry.data, FileFault::truncated, path_,
             "'{}' ({} bytes at offset {}) reaches beyond the zip directory", entry.name, entry.packed, entry.data);
  bool same = text_of(at(entry.header + kLocalBytes, name_bytes)) == entry.name &&
              number<uint16_t>(header, 6) == entry.flags && number<uint16_t>(header, 8) == entry.method;
  const auto crc = number<uint32_t>(header, 14);
  uint64_t packed = number<uint32_t>(header, 18), size = number<uint32_t>(header, 22);
  const auto wide = wide_fields({&size, &packed});
  widen(at(entry.header + kLocalBytes + name_bytes, extra_bytes), wide, false, entry.name, path_);
  const bool later = (entry.flags & kHasDescriptor) != 0;  // written before the sizes were known
  same = same && (crc == entry.crc || (later && crc == 0)) && (size == entry.size || (later && size == 0)) &&
         (packed == entry.packed || (later && packed == 0));
  const uint64_t end = entry.data + entry.packed;
  if (later && limit - end >= 8 && number<uint32_t>(at(end, 8), 0) == kDescriptor) {
    same = same && number<uint32_t>(at(end, 8), 4) == entry.crc;
  }
  check_file(same, FileFault::layout, path_, "the local header of '{}' contradicts the zip directory", entry.name);
}

void ZipReader::check_overlaps() const {
  std::vector<const ZipEntry*> sorted;
  for (const ZipEntry& entry : entries_) sorted.push_back(&entry);
  std::sort(sorted.begin(), sorted.end(), [](auto* a, auto* b) { return a->header < b->header; });
  for (size_t i = 1; i < sorted.size(); ++i) {
    check_file(sorted[i - 1]->data + sorted[i - 1]->packed <= sorted[i]->header, FileFault::layout, path_,
               "the zip entries '{}' and '{}' overlap", sorted[i - 1]->name, sorted[i]->name);
  }
}

const ZipEntry* ZipReader::find(std::string_view name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &entries_[it->second];
}

std::span<const std::byte> ZipReader::stored(const ZipEntry& entry) const {
  check_file(entry.method == 0, FileFault::unsupported, path_,
             "'{}' is compressed: tensors are read from uncompressed archives only; unpack the file and zip it with -0",
             entry.name);
  return at(entry.data, entry.size);
}

TensorBytes ZipReader::contents(const ZipEntry& entry) const {
  TensorBytes result{at(entry.data, entry.packed), file_};
  if (entry.method != 0) {
    check_file(entry.size <= kMaxInflated, FileFault::limit, path_, "'{}' inflates to {} bytes, at most {} are allowed",
               entry.name, entry.size, kMaxInflated);
    auto inflated = std::make_shared<std::vector<std::byte>>(inflate_raw(result.bytes, entry.size, entry.name, path_));
    result = {*inflated, inflated};
  }
  const auto crc =
      static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(result.bytes.data()), result.bytes.size()));
  check_file(entry.crc == 0 || crc == entry.crc, FileFault::checksum, path_,
             "'{}' is damaged: its checksum is {:08x}, {:08x} is expected", entry.name, crc, entry.crc);
  return result;
}

}  // namespace caravan::formats
