#include "caravan/models/packed_cache.h"

#include <torch/torch.h>

#include <filesystem>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/formats/writer.h"
#include "caravan/ops/linear.h"

namespace caravan::models {
namespace {

namespace fs = std::filesystem;

Json state_of(const fs::path& file) {
  return {{"name", file.filename().string()},
          {"bytes", fs::file_size(file)},
          {"modified", fs::last_write_time(file).time_since_epoch().count()}};
}

// What the packed bytes are made of, as far as can be told without reading it.
Json key_of(const fs::path& checkpoint) {
  Json files = Json::array();
  if (fs::is_directory(checkpoint)) {
    const auto names = list_folder(checkpoint.string());
    for (const std::string& name : names.value_or(std::vector<std::string>())) {
      if (fs::is_regular_file(checkpoint / name)) files.push_back(state_of(checkpoint / name));
    }
  } else {
    files.push_back(state_of(checkpoint));
  }
  return {{"packed_layout", ops::kPackedLayout}, {"checkpoint", checkpoint.string()}, {"files", std::move(files)}};
}

std::unique_ptr<formats::Checkpoint> open_if_same(const std::string& path, const Json& key) {
  if (!is_folder(path)) return nullptr;
  try {
    auto stored = formats::Checkpoint::open(path);
    if (stored->config() == key) return stored;
  } catch (const Error&) {  // broken: made anew
  }
  return nullptr;
}

}  // namespace

PackedCache::PackedCache(const std::string& folder, const formats::Checkpoint& source) {
  if (folder.empty()) return;
  const fs::path checkpoint = fs::canonical(source.path());
  check(is_folder(folder), ErrorCode::not_found, "{}: no such folder to keep repacked weights in", folder);
  key_ = key_of(checkpoint);
  const std::string name =
      fmt::format("{}-{:016x}", checkpoint.filename().string(), std::hash<std::string>{}(checkpoint.string()));
  path_ = (fs::path(folder) / name).string();
  stored_ = open_if_same(path_, key_);
}

Tensor PackedCache::find(const std::string& name, int64_t bytes) const {
  const formats::TensorInfo* info = stored_ != nullptr ? stored_->find(name) : nullptr;
  if (info == nullptr || info->dtype != DType::u8 || info->shape != std::vector<int64_t>{bytes}) return {};
  const formats::TensorBytes found = stored_->read(name);
  void* data = const_cast<std::byte*>(found.bytes.data());  // never written to: a weight
  return at::from_blob(
      data, {bytes}, [owner = found.owner](void*) {}, at::kByte);
}

void PackedCache::keep(const std::string& name, const Tensor& packed) {
  if (!path_.empty()) kept_.push_back({name, packed});
}

void PackedCache::save() {
  if (kept_.empty()) return;
  stored_.reset();
  std::vector<formats::TensorInfo> plan;
  for (const Entry& e : kept_) plan.push_back({.name = e.name, .dtype = DType::u8, .shape = {e.packed.numel()}});
  const auto writer = formats::CheckpointWriter::create(path_, plan, key_, {});
  for (const Entry& e : kept_) {
    writer->write(e.name, {static_cast<const std::byte*>(e.packed.const_data_ptr()), e.packed.nbytes()});
  }
  writer->finish();
  kept_.clear();
}

}  // namespace caravan::models
