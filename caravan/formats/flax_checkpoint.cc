// Flax behind the Checkpoint interface.
#include "caravan/formats/flax_checkpoint.h"

#include <cstring>

#include "caravan/base/error.h"
#include "caravan/formats/config_file.h"
#include "caravan/formats/flax_names.h"
#include "caravan/formats/flax_tree.h"
#include "caravan/formats/mapped_tensors.h"
#include "caravan/formats/shards.h"

namespace caravan::formats {
namespace {

constexpr std::string_view kFile = "flax_model.msgpack", kIndex = "flax_model.msgpack.index.json";

bool is_index(const Location& at) { return !at.is_folder && at.path.ends_with(".msgpack.index.json"); }

// {"params": ..., "opt_state": ..., "step": ...} is a train state: only its parameters count. Returns false for an
// array that is none, and takes the collection's name off the others.
bool take_parameter(bool has_collections, FlaxArray& array) {
  if (!has_collections) return true;
  const bool is_statistic = array.path[0] == "batch_stats";
  if (array.path.size() < 2 || (array.path[0] != "params" && !is_statistic)) return false;
  array.path.erase(array.path.begin());
  std::string& leaf = array.path.back();
  if (is_statistic && (leaf == "mean" || leaf == "var")) leaf = "running_" + leaf;
  return true;
}

class FlaxCheckpoint final : public Checkpoint {
 public:
  explicit FlaxCheckpoint(const Location& at) : Checkpoint(at.path) {
    in_.config = read_config(at);
    open_files(at, kFile, kIndex, [this](const std::string& path) { return add_file(path); });
    refuse_equal_names();
  }

  std::string_view format() const override { return "flax"; }
  const std::vector<TensorInfo>& tensors() const override { return in_.tensors; }
  const Json& config() const override { return in_.config; }

  TensorBytes read(std::string_view name) const override {
    const auto& [tensor, place] = in_.at(*this, name);
    const auto unit = static_cast<size_t>(dtype_info(tensor.dtype).block_bytes);
    const std::span<const std::byte> first = place.array.chunks[0];
    const bool is_view = place.array.chunks.size() == 1 && reinterpret_cast<uintptr_t>(first.data()) % unit == 0;
    if (is_view && !place.is_transposed) return {first, in_.files[place.file]};
    auto whole = is_view ? nullptr : std::make_shared<std::vector<std::byte>>(joined(place.array));
    if (!place.is_transposed) return {*whole, whole};
    const std::span<const std::byte> stored = is_view ? first : std::span<const std::byte>(*whole);
    auto turned = std::make_shared<std::vector<std::byte>>(stored.size());
    transpose_from_flax(stored, place.array.shape, unit, *turned);
    return {*turned, turned};
  }

  void check() const override { in_.check(); }

 private:
  struct Place {
    size_t file;
    bool is_transposed;
    FlaxArray array;
  };

  static std::vector<std::byte> joined(const FlaxArray& array) {
    std::vector<std::byte> bytes;
    size_t total = 0;
    for (const auto& chunk : array.chunks) total += chunk.size();
    bytes.reserve(total);
    for (const auto& chunk : array.chunks) bytes.insert(bytes.end(), chunk.begin(), chunk.end());
    return bytes;
  }

  // Returns the paths as an index names them: joined by '/'.
  std::vector<std::string> add_file(const std::string& path) {
    std::shared_ptr<const MappedFile> file = MappedFile::open(path);
    std::vector<FlaxArray> arrays = parse_flax_tree(file->bytes(), path);
    file->check();
    bool has_collections = false;
    for (const FlaxArray& array : arrays) has_collections |= array.path[0] == "params";
    std::vector<std::string> paths;
    for (FlaxArray& array : arrays) {
      paths.push_back(fmt::format("{}", fmt::join(array.path, "/")));
      if (take_parameter(has_collections, array)) add_tensor(std::move(array));
    }
    in_.files.push_back(std::move(file));
    return paths;
  }

  void add_tensor(FlaxArray array) {
    const bool is_transposed = is_flax_kernel(array.path.back(), array.shape.size());
    TensorInfo tensor{from_flax_name({array.path, is_transposed}), array.dtype,
                      is_transposed ? from_flax_shape(array.shape) : array.shape};
    in_.add(std::move(tensor), {in_.files.size(), is_transposed, std::move(array)});
  }

  // a/scale and a/weight are different names in the file, and the same here.
  void refuse_equal_names() const {
    for (const TensorInfo& tensor : in_.tensors) {
      check_file(find(tensor.name) == &tensor, FileFault::duplicate, path_, "two arrays stand for the tensor '{}'",
                 tensor.name);
    }
  }

  MappedTensors<Place> in_;
};

}  // namespace

bool looks_like_flax(const Location& at) {
  if (at.is_folder) return at.has(kFile) || at.has(kIndex);
  if (is_index(at)) return true;
  if (at.head.size() < 2) return false;
  // A map that is not empty, whose first key is a text. (An old torch file begins with 0x80 too: an empty map.)
  const auto byte = [&](size_t i) { return i < at.head.size() ? static_cast<unsigned char>(at.head[i]) : 0u; };
  const bool is_short_map = byte(0) > 0x80 && byte(0) < 0x90;
  if (!is_short_map && byte(0) != 0xDE && byte(0) != 0xDF) return false;
  const size_t key = is_short_map ? 1 : byte(0) == 0xDE ? 3 : 5;
  return (byte(key) > 0xA0 && byte(key) < 0xC0) || byte(key) == 0xD9;
}

std::unique_ptr<Checkpoint> open_flax(const Location& at) { return std::make_unique<FlaxCheckpoint>(at); }

}  // namespace caravan::formats
