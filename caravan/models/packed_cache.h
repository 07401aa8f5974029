// Repacked weights kept on disk: a model that is started again maps them instead of repacking its blocks.
//
//   PackedCache cache("/var/cache/caravan", *checkpoint);      // "": keeps nothing
//   Tensor packed = cache.find(name, bytes);                   // undefined where it is not there
//   if (!packed.defined()) cache.keep(name, packed = ops::pack(weight));
//   cache.save();
//
// One safetensors folder a checkpoint, under a name made of the checkpoint's path; its config.json says what it was
// made of (sizes, inodes and times of the files, the layout of the packed bytes), and the CRC-32C of every 4 MiB, which
// all are read and checked when it is opened: 0.07 s for 600 MB that are in memory. Where anything differs the entry is
// made anew. A cache that cannot be used or written is no error: `warn` is told, and the model loads as without one.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "caravan/formats/checkpoint.h"
#include "caravan/nn/module.h"

namespace caravan::models {

using at::Tensor;

class PackedCache {
 public:
  using Warn = std::function<void(const std::string&)>;
  // Makes the folder where there is none.
  PackedCache(const std::string& folder, const formats::Checkpoint& source, Warn warn = {});
  Tensor find(const std::string& name, int64_t bytes);
  void keep(const std::string& name, const Tensor& packed);
  void save();  // atomic; nothing where nothing was kept

 private:
  struct Entry {
    std::string name;
    Tensor packed;
  };
  void warn(const std::string& what) const;
  void open();
  std::string path_;  // "": no cache
  Warn warn_;
  Json key_;
  std::unique_ptr<formats::Checkpoint> stored_;
  std::vector<Entry> entries_;  // found or kept, alive until save()
  bool changed_ = false;
};

}  // namespace caravan::models
