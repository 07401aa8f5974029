// Safetensors behind the Checkpoint interface.
#include "caravan/formats/safetensors_checkpoint.h"

#include <cstring>

#include "caravan/base/error.h"
#include "caravan/formats/config_file.h"
#include "caravan/formats/mapped_tensors.h"
#include "caravan/formats/safetensors_header.h"
#include "caravan/formats/shards.h"

namespace caravan::formats {
namespace {

constexpr std::string_view kFile = "model.safetensors", kIndex = "model.safetensors.index.json";

bool is_index(const Location& at) { return !at.is_folder && at.path.ends_with(".safetensors.index.json"); }

class SafetensorsCheckpoint final : public Checkpoint {
 public:
  explicit SafetensorsCheckpoint(const Location& at) : Checkpoint(at.path) {
    in_.config = read_config(at);
    open_files(at, kFile, kIndex, [this](const std::string& path) { return add_file(path); });
  }

  std::string_view format() const override { return "safetensors"; }
  const std::vector<TensorInfo>& tensors() const override { return in_.tensors; }
  const Json& config() const override { return in_.config; }

  TensorBytes read(std::string_view name) const override {
    const auto& [tensor, place] = in_.at(*this, name);
    const std::shared_ptr<const MappedFile>& file = in_.files[place.file];
    const std::span<const std::byte> bytes = file->bytes().subspan(place.offset, place.size);
    const auto unit = static_cast<uintptr_t>(dtype_info(tensor.dtype).block_bytes);
    if (reinterpret_cast<uintptr_t>(bytes.data()) % unit == 0) return {bytes, file};
    return aligned_copy(bytes);
  }

  void check() const override { in_.check(); }

 private:
  struct Place {
    size_t file;
    uint64_t offset, size;
  };

  // The format allows a tensor at any byte; users of the bytes need not know.
  static TensorBytes aligned_copy(std::span<const std::byte> bytes) {
    auto copy = std::make_shared<std::vector<std::byte>>(bytes.begin(), bytes.end());
    return {*copy, copy};
  }

  // Returns the names of the file's tensors.
  std::vector<std::string> add_file(const std::string& path) {
    std::shared_ptr<const MappedFile> file = MappedFile::open(path);
    SafetensorsHeader header = parse_safetensors_header(file->bytes(), path);
    file->check();  // the header itself may have been cut while it was read
    std::vector<std::string> names;
    for (SafetensorsEntry& entry : header.entries) {
      names.push_back(entry.tensor.name);
      in_.add(std::move(entry.tensor), {in_.files.size(), header.data_begin + entry.begin, entry.end - entry.begin});
    }
    in_.files.push_back(std::move(file));
    return names;
  }

  MappedTensors<Place> in_;
};

}  // namespace

bool looks_like_safetensors(const Location& at) {
  if (at.is_folder) return at.has(kFile) || at.has(kIndex);
  if (is_index(at)) return true;
  if (at.head.size() < 10) return false;
  uint64_t length = 0;
  std::memcpy(&length, at.head.data(), sizeof length);
  const size_t first = at.head.find_first_not_of(" \t\r\n", 8);
  return length <= 100'000'000 && first != std::string::npos && at.head[first] == '{';
}

std::unique_ptr<Checkpoint> open_safetensors(const Location& at) { return std::make_unique<SafetensorsCheckpoint>(at); }

}  // namespace caravan::formats
