#include "caravan/formats/zip_writer.h"

#include <zlib.h>

#include "caravan/base/error.h"

namespace caravan::formats {
namespace {

constexpr uint64_t kAlignment = 64;
constexpr uint32_t kWide32 = 0xffffffff;  // "see the zip64 field"; also the first value that does not fit
constexpr uint16_t kWide16 = 0xffff, kPlainVersion = 20, kZip64Version = 45, kUtf8 = 1 << 11, kPaddingId = 0x4246;

// Little-endian fields, one after the other.
class Fields {
 public:
  Fields& u16(uint64_t value) { return put(value, 2); }
  Fields& u32(uint64_t value) { return put(value, 4); }
  Fields& u64(uint64_t value) { return put(value, 8); }
  Fields& text(std::string_view text) { return bytes_.append(text), *this; }
  const std::string& bytes() const { return bytes_; }

 private:
  Fields& put(uint64_t value, int n) {
    for (int i = 0; i < n; ++i) bytes_.push_back(static_cast<char>(value >> (8 * i)));
    return *this;
  }
  std::string bytes_;
};

uint64_t narrow(uint64_t value) { return std::min<uint64_t>(value, kWide32); }
bool is_wide(uint64_t value) { return value >= kWide32; }

// The zip64 field with the values that do not fit in theirs; empty where all fit.
std::string zip64_field(std::initializer_list<uint64_t> values) {
  Fields wide;
  for (uint64_t value : values) {
    if (is_wide(value)) wide.u64(value);
  }
  return wide.bytes().empty() ? "" : Fields().u16(1).u16(wide.bytes().size()).text(wide.bytes()).bytes();
}

}  // namespace

void ZipWriter::add(std::string_view name, std::span<const std::byte> bytes) {
  check(!name.empty() && name.size() < 0x7fff, ErrorCode::invalid_argument, "a zip record name of {} bytes",
        name.size());
  const auto crc = static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
  const Record& record = records_.emplace_back(Record{std::string(name), crc, bytes.size(), file_.position()});
  std::string extra = zip64_field({record.size, record.size});
  const uint64_t unpadded = record.offset + 30 + name.size() + extra.size() + 4;
  const uint64_t padding = (kAlignment - unpadded % kAlignment) % kAlignment;
  extra += Fields().u16(kPaddingId).u16(padding).text(std::string(padding, 'Z')).bytes();
  Fields header;
  header.u32(0x04034b50).u16(is_wide(record.size) ? kZip64Version : kPlainVersion).u16(kUtf8).u16(0).u32(0).u32(crc);
  header.u32(narrow(record.size)).u32(narrow(record.size)).u16(name.size()).u16(extra.size());
  file_.write(header.text(name).text(extra).bytes());
  file_.write(bytes);
}

void ZipWriter::write_directory_entry(const Record& record) {
  const std::string extra = zip64_field({record.size, record.size, record.offset});
  const uint16_t version = extra.empty() ? kPlainVersion : kZip64Version;
  Fields entry;
  entry.u32(0x02014b50).u16(version).u16(version).u16(kUtf8).u16(0).u32(0).u32(record.crc);
  entry.u32(narrow(record.size)).u32(narrow(record.size)).u16(record.name.size()).u16(extra.size()).u16(0);
  entry.u16(0).u16(0).u32(0).u32(narrow(record.offset));  // disk, attributes, offset
  file_.write(entry.text(record.name).text(extra).bytes());
}

void ZipWriter::finish() {
  const uint64_t begin = file_.position(), n = records_.size();
  for (const Record& record : records_) write_directory_entry(record);
  const uint64_t end = file_.position(), size = end - begin;
  if (is_wide(begin) || is_wide(size) || n >= kWide16) {
    Fields zip64;
    zip64.u32(0x06064b50)
        .u64(44)
        .u16(kZip64Version)
        .u16(kZip64Version)
        .u32(0)
        .u32(0)
        .u64(n)
        .u64(n)
        .u64(size)
        .u64(begin);
    zip64.u32(0x07064b50).u32(0).u64(end).u32(1);
    file_.write(zip64.bytes());
  }
  const uint64_t count = std::min<uint64_t>(n, kWide16);
  Fields last;
  last.u32(0x06054b50).u16(0).u16(0).u16(count).u16(count).u32(narrow(size)).u32(narrow(begin)).u16(0);
  file_.write(last.bytes());
}

}  // namespace caravan::formats
