// The readers' list, and what all checkpoints share.
#include "caravan/formats/checkpoint.h"

#include <filesystem>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/formats/flax_checkpoint.h"
#include "caravan/formats/format.h"
#include "caravan/formats/gguf_checkpoint.h"
#include "caravan/formats/meta_checkpoint.h"
#include "caravan/formats/packed_checkpoint.h"
#include "caravan/formats/safetensors_checkpoint.h"
#include "caravan/formats/side_file.h"
#include "caravan/formats/torch_checkpoint.h"

namespace caravan::formats {
namespace {

// Where a folder holds several formats the first line wins: safetensors, torch, meta, flax, gguf.
// {name, extension, looks_like, open}
const std::vector<ReaderFormat>& list() {
  static const std::vector<ReaderFormat> formats = {
      {"safetensors", ".safetensors", looks_like_safetensors, open_safetensors},
      {"torch", ".bin", looks_like_torch, open_torch},
      {"torch", ".pth", looks_like_torch, open_torch},
      {"torch", ".pt", looks_like_torch, open_torch},
      {"meta", "", looks_like_meta, open_meta},
      {"flax", ".msgpack", looks_like_flax, open_flax},
      {"gguf", ".gguf", looks_like_gguf, open_gguf},
  };
  return formats;
}

const ReaderFormat* recognize(const Location& at) {
  for (const ReaderFormat& format : list()) {
    if (format.looks_like(at)) return &format;
  }
  if (at.is_folder) return nullptr;
  for (const ReaderFormat& format : list()) {
    if (!format.extension.empty() && at.path.ends_with(format.extension)) return &format;
  }
  return nullptr;
}

std::string names_of_formats() {
  std::string names;
  for (const std::string_view name : reader_formats()) names.append(names.empty() ? "" : ", ").append(name);
  return names;
}

}  // namespace

std::vector<std::string_view> reader_formats() {
  std::vector<std::string_view> names;
  for (const ReaderFormat& format : list()) {
    if (names.empty() || names.back() != format.name) names.push_back(format.name);
  }
  return names;
}

std::unique_ptr<Checkpoint> Checkpoint::open(const std::string& path) {
  const Location at = Location::of(path);
  const ReaderFormat* format = recognize(at);
  if (format != nullptr) return present_packed(format->open(at));
  if (at.is_folder)
    fail(ErrorCode::not_found, "{}: no checkpoint in this folder; formats read: {}", path, names_of_formats());
  fail_file(FileFault::magic, path, "not a checkpoint that can be read; formats read: {}", names_of_formats());
}

const TensorInfo* Checkpoint::find(std::string_view name) const {
  const std::vector<TensorInfo>& all = tensors();
  std::call_once(index_made_, [&] {
    for (size_t i = 0; i < all.size(); ++i) index_.emplace(all[i].name, i);
  });
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &all[it->second];
}

std::string Checkpoint::side_file(std::string_view name) const {
  check_plain_name(name, path_);
  const std::filesystem::path base(path_);
  const std::string folder = (is_folder(path_) ? base : base.parent_path()).string();
  const std::string path = (std::filesystem::path(folder) / name).string();
  return read_side_file(path);
}

std::string Checkpoint::place_of(std::string_view name) const {
  return is_folder(path_) ? (std::filesystem::path(path_) / name).string() : fmt::format("{} ({})", path_, name);
}

std::string read_side_file(const std::string& path) {
  if (!file_exists(path)) return "";
  std::string text = read_file(path);
  check_file(!text.empty() || !path.ends_with(".json"), FileFault::truncated, path,
             "the file is empty; put the whole file in its place, or remove it if the model has none");
  return text;
}

}  // namespace caravan::formats
