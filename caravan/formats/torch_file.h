// One .bin, .pth or .pt file as torch.save writes it: the zip archive of torch >= 1.6 or the stream before it.
//
// Source: torch/serialization.py (_save, _legacy_save, _load, _legacy_load). Left out: the tar files of torch 0.1 and
// TorchScript archives (both refused with a message), tensors on read-ahead devices.
//
//   auto file = TorchFile::open("model.pth");
//   for (const TorchTensor& tensor : file->tensors()) use(tensor.info, file->read(tensor).bytes);
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "caravan/base/file.h"
#include "caravan/formats/pickle.h"
#include "caravan/formats/torch_records.h"
#include "caravan/formats/zip_reader.h"

namespace caravan::formats {

// By the first bytes: a zip archive, torch's magic number, or a tar file (which open() refuses).
bool looks_like_torch_file(std::string_view head);

class TorchFile {
 public:
  static std::shared_ptr<const TorchFile> open(const std::string& path);

  const std::vector<TorchTensor>& tensors() const { return tensors_; }
  // "module.name" of everything in the pickle that is not torch's own. It was read as inert records; nothing ran.
  const std::vector<std::string>& foreign_globals() const { return foreign_globals_; }
  TensorBytes read(const TorchTensor& tensor) const;  // in the map where contiguous, a copy otherwise
  void check() const { file_->check(); }              // throws if the file was truncated while it was mapped
  void verify() const;                                // checksums of all records, large ones included

 private:
  explicit TorchFile(std::shared_ptr<const MappedFile> file) : file_(std::move(file)) {}
  void open_archive();
  void open_stream();
  void check_archive_version(const std::string& root);
  void read_tensors(const PickleDocument& document);
  void find_storages_in_archive(const PickleDocument& document, const std::string& root);
  void find_storages_in_stream(const PickleDocument& document, const PickleDocument& keys, uint64_t position);
  PickleDocument read_pickle(std::span<const std::byte> bytes, std::string_view what) const;

  std::shared_ptr<const MappedFile> file_;
  std::unique_ptr<ZipReader> zip_;  // null for a stream
  bool big_endian_ = false;
  std::unordered_map<std::string, std::span<const std::byte>> storages_;  // by key
  std::vector<TorchTensor> tensors_;
  std::vector<std::string> foreign_globals_;
};

}  // namespace caravan::formats
