#include "caravan/formats/torch_checkpoint.h"

#include <algorithm>

#include "caravan/base/error.h"
#include "caravan/formats/config_file.h"
#include "caravan/formats/shards.h"

namespace caravan::formats {
namespace {

constexpr std::string_view kSingle = "pytorch_model.bin", kIndex = "pytorch_model.bin.index.json";

}  // namespace

TorchCheckpoint::TorchCheckpoint(const Location& at) : Checkpoint(at.path), config_(read_config(at)) {
  open_files(at, kSingle, kIndex, [this](const std::string& path) { return add_file(path); });
}

std::vector<std::string> TorchCheckpoint::add_file(const std::string& path) {
  const auto file = files_.emplace_back(TorchFile::open(path));
  std::vector<std::string> names;
  for (size_t i = 0; i < file->tensors().size(); ++i) {
    const TensorInfo& info = file->tensors()[i].info;
    names.push_back(info.name);
    infos_.push_back(info);
    places_.try_emplace(info.name, files_.size() - 1, i);
  }
  for (const std::string& global : file->foreign_globals()) {
    if (std::find(foreign_globals_.begin(), foreign_globals_.end(), global) == foreign_globals_.end())
      foreign_globals_.push_back(global);
  }
  return names;
}

TensorBytes TorchCheckpoint::read(std::string_view name) const {
  const auto place = places_.find(std::string(name));
  caravan::check(place != places_.end(), ErrorCode::not_found, "{}: no tensor '{}'", path_, name);
  const TorchFile& file = *files_[place->second.first];
  return file.read(file.tensors()[place->second.second]);
}

void TorchCheckpoint::check() const {
  for (const auto& file : files_) file->check();
}

void TorchCheckpoint::verify() const {
  for (const auto& file : files_) file->verify();
}

bool looks_like_torch(const Location& at) {
  return at.is_folder ? at.has(kSingle) || at.has(kIndex) : looks_like_torch_file(at.head);
}

std::unique_ptr<Checkpoint> open_torch(const Location& at) { return std::make_unique<TorchCheckpoint>(at); }

}  // namespace caravan::formats
