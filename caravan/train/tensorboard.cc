#include "caravan/train/tensorboard.h"

#include <bit>
#include <cstdint>
#include <cstring>
#include <filesystem>

#include "caravan/base/crc32c.h"
#include "caravan/base/error.h"
#include "caravan/base/file.h"

namespace caravan::train {
namespace {

constexpr std::string_view kPrefix = "events.out.tfevents.", kSuffix = ".caravan";

template <class T>
void append_little_endian(std::string& to, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) to.push_back(static_cast<char>(value >> (8 * i)));
}

void append_varint(std::string& to, uint64_t value) {
  for (; value >= 0x80; value >>= 7) to.push_back(static_cast<char>(value | 0x80));
  to.push_back(static_cast<char>(value));
}

// Protocol buffer fields: (number << 3 | wire type), then the value.
void append_key(std::string& to, int field, int wire_type) {
  append_varint(to, static_cast<uint64_t>(field << 3 | wire_type));
}
void append_double(std::string& to, int field, double value) {
  append_key(to, field, 1);
  append_little_endian(to, std::bit_cast<uint64_t>(value));
}
void append_float(std::string& to, int field, float value) {
  append_key(to, field, 5);
  append_little_endian(to, std::bit_cast<uint32_t>(value));
}
void append_bytes(std::string& to, int field, std::string_view value) {
  append_key(to, field, 2);
  append_varint(to, value.size());
  to += value;
}

// A TFRecord's checksums are rotated and shifted, so that a checksum of data with checksums in it stays meaningful.
uint32_t masked_crc(std::string_view bytes) {
  const uint32_t crc = crc32c(std::as_bytes(std::span(bytes.data(), bytes.size())));
  return ((crc >> 15) | (crc << 17)) + 0xA282EAD8u;
}

std::string event_path(const std::string& folder, double wall_time) {
  std::error_code ignored;
  std::filesystem::create_directories(folder, ignored);
  remove_events(folder);
  return fmt::format("{}/{}{}{}", folder, kPrefix, static_cast<int64_t>(wall_time), kSuffix);
}

}  // namespace

void remove_events(const std::string& folder) {
  if (!is_folder(folder)) return;
  for (const std::string& name : list_folder(folder).value_or(std::vector<std::string>{})) {
    if (name.starts_with(kPrefix) && name.ends_with(kSuffix)) file_system().remove((folder + "/" + name).c_str());
  }
}

EventFile::EventFile(const std::string& folder, double wall_time) : file_(event_path(folder, wall_time)) {
  std::string event;
  append_double(event, 1, wall_time);
  append_bytes(event, 3, "brain.Event:2");  // file_version, which the first event must carry
  write(event);
}

void EventFile::scalar(std::string_view tag, double value, int64_t step, double wall_time) {
  std::string entry;  // Summary.Value: tag = 1, simple_value = 2
  append_bytes(entry, 1, tag);
  append_float(entry, 2, static_cast<float>(value));
  std::string summary;  // Summary: repeated value = 1
  append_bytes(summary, 1, entry);
  std::string event;  // Event: wall_time = 1, step = 2, summary = 5
  append_double(event, 1, wall_time);
  append_key(event, 2, 0);
  append_varint(event, static_cast<uint64_t>(step));
  append_bytes(event, 5, summary);
  write(event);
}

// A TFRecord: length, its checksum, the data, its checksum.
void EventFile::write(std::string_view event) {
  std::string record;
  append_little_endian(record, static_cast<uint64_t>(event.size()));
  append_little_endian(record, masked_crc(record));
  record += event;
  append_little_endian(record, masked_crc(event));
  file_.write(record);
}

void add_scalars(EventFile& events, const Json& row, double wall_time) {
  const int64_t step = get_int(row, "step", "metrics.jsonl");
  for (const auto& [key, value] : row.items()) {
    if (key == "timing" && value.is_object()) {
      for (const auto& [name, number] : value.items()) {
        if (number.is_number()) events.scalar("timing/" + name, number.get<double>(), step, wall_time);
      }
    } else if (key != "step" && value.is_number()) {
      events.scalar(key, value.get<double>(), step, wall_time);
    }
  }
}

}  // namespace caravan::train
