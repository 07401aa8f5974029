#include "caravan/models/packed_cache.h"

#include <sys/stat.h>
#include <torch/torch.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <span>

#include "caravan/base/crc32c.h"
#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/formats/writer.h"
#include "caravan/ops/linear.h"
#include "caravan/ops/threads.h"

namespace caravan::models {
namespace {

namespace fs = std::filesystem;

// The time of modification can be put back (cp -p, rsync -t, touch -r); the inode's own time cannot.
Json state_of(const fs::path& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) {
    throw fs::filesystem_error("stat", file, std::error_code(errno, std::generic_category()));
  }
  const auto nanoseconds = [](const timespec& t) { return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec; };
  return {{"name", file.filename().string()},
          {"bytes", status.st_size},
          {"inode", status.st_ino},
          {"modified", nanoseconds(status.st_mtim)},
          {"changed", nanoseconds(status.st_ctim)}};
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

constexpr size_t kPiece = 4 << 20;  // bytes under one checksum

std::span<const std::byte> bytes_of(const Tensor& packed) {
  return {static_cast<const std::byte*>(packed.const_data_ptr()), packed.nbytes()};
}

// The checksum of each piece.
Json checksums(std::span<const std::byte> bytes) {
  std::vector<uint32_t> sums((bytes.size() + kPiece - 1) / kPiece);
  ops::parallel_pieces(std::ssize(sums), 1, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i)
      sums[i] = crc32c(bytes.subspan(i * kPiece, std::min(kPiece, bytes.size() - i * kPiece)));
  });
  return sums;
}

// Throws corrupt_file.
void verify(const formats::Checkpoint& stored) {
  const Json* sums = find_member(stored.config(), "crc32c");
  for (const formats::TensorInfo& info : stored.tensors()) {
    const Json* expected = sums == nullptr ? nullptr : find_member(*sums, info.name);
    check_file(expected != nullptr && checksums(stored.read(info.name).bytes) == *expected, FileFault::checksum,
               stored.path(), "the bytes of '{}' are not those that were written", info.name);
  }
  stored.check();
}

}  // namespace

PackedCache::PackedCache(const std::string& folder, const formats::Checkpoint& source, Warn warn)
    : warn_(std::move(warn)) {
  if (folder.empty()) return;
  try {
    const fs::path checkpoint = fs::canonical(source.path());
    fs::create_directories(folder);
    key_ = key_of(checkpoint);
    const std::string name =
        fmt::format("{}-{:016x}", checkpoint.filename().string(), std::hash<std::string>{}(checkpoint.string()));
    path_ = (fs::path(folder) / name).string();
    open();
  } catch (const fs::filesystem_error& error) {
    path_.clear();
    this->warn(fmt::format("{}: repacked weights cannot be kept there: {}", folder, error.code().message()));
  } catch (const Error& error) {  // it cannot be read
    path_.clear();
    this->warn(fmt::format("{}: repacked weights cannot be kept there: {}", folder, error.what()));
  }
}

void PackedCache::open() {
  if (!is_folder(path_)) return;
  try {
    auto stored = formats::Checkpoint::open(path_);
    const Json* key = find_member(stored->config(), "made_of");
    if (key == nullptr || *key != key_) return;  // of another state of the checkpoint
    verify(*stored);
    stored_ = std::move(stored);
  } catch (const Error& error) {
    warn(fmt::format("{}; it is made anew", error.what()));
  }
}

void PackedCache::warn(const std::string& what) const {
  if (warn_) warn_(what);
}

Tensor PackedCache::find(const std::string& name, int64_t bytes) {
  const formats::TensorInfo* info = stored_ != nullptr ? stored_->find(name) : nullptr;
  if (info == nullptr || info->dtype != DType::u8 || info->shape != std::vector<int64_t>{bytes}) return {};
  const formats::TensorBytes found = stored_->read(name);
  void* data = const_cast<std::byte*>(found.bytes.data());  // never written to: a weight
  const Tensor packed = at::from_blob(
      data, {bytes}, [owner = found.owner](void*) {}, at::kByte);
  entries_.push_back({name, packed});
  return packed;
}

void PackedCache::keep(const std::string& name, const Tensor& packed) {
  if (path_.empty()) return;
  entries_.push_back({name, packed});
  changed_ = true;
}

void PackedCache::save() {
  if (!changed_) return;
  std::vector<formats::TensorInfo> plan;
  Json sums = Json::object();
  for (const Entry& e : entries_) {
    plan.push_back({.name = e.name, .dtype = DType::u8, .shape = {e.packed.numel()}});
    sums[e.name] = checksums(bytes_of(e.packed));
  }
  try {
    const auto writer =
        formats::CheckpointWriter::create(path_, plan, {{"made_of", key_}, {"crc32c", std::move(sums)}}, {});
    for (const Entry& e : entries_) writer->write(e.name, bytes_of(e.packed));
    writer->finish();
  } catch (const Error& error) {
    warn(fmt::format("repacked weights are not kept: {}", error.what()));
  }
  stored_.reset();
  entries_.clear();
  changed_ = false;
}

}  // namespace caravan::models
