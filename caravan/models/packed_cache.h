// Repacked weights kept on disk: a model that is started again maps them instead of repacking its blocks.
//
//   PackedCache cache("/var/cache/caravan", *checkpoint);      // "": keeps nothing
//   Tensor packed = cache.find(name, bytes);                   // undefined where it is not there
//   if (!packed.defined()) cache.keep(name, packed = ops::pack(weight));
//   cache.save();
//
// One safetensors folder a checkpoint, under a name made of the checkpoint's path; its config.json says what it was
// made of: sizes and times of the files, the layout of the packed bytes. Where that differs it is made anew.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "caravan/formats/checkpoint.h"
#include "caravan/nn/module.h"

namespace caravan::models {

using at::Tensor;

class PackedCache {
 public:
  PackedCache(const std::string& folder, const formats::Checkpoint& source);
  Tensor find(const std::string& name, int64_t bytes) const;
  void keep(const std::string& name, const Tensor& packed);  // the tensor stays alive until save()
  void save();                                               // atomic; nothing where nothing was kept

 private:
  struct Entry {
    std::string name;
    Tensor packed;
  };
  std::string path_;  // "": no cache
  Json key_;
  std::unique_ptr<formats::Checkpoint> stored_;
  std::vector<Entry> kept_;
};

}  // namespace caravan::models
