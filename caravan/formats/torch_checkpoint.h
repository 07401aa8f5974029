// Checkpoints of torch.save: one file (.bin, .pth, .pt), or a folder with pytorch_model.bin or its shards and index.
//
//   auto checkpoint = Checkpoint::open("pytorch_model.bin");
//   if (auto* torch = dynamic_cast<TorchCheckpoint*>(checkpoint.get())) report(torch->foreign_globals());
//
// config() is the config.json in the folder or beside the file, empty where there is none. Names stay as they are
// stored.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "caravan/formats/checkpoint.h"
#include "caravan/formats/format.h"
#include "caravan/formats/torch_file.h"

namespace caravan::formats {

class TorchCheckpoint final : public Checkpoint {
 public:
  explicit TorchCheckpoint(const Location& at);

  std::string_view format() const override { return "torch"; }
  const std::vector<TensorInfo>& tensors() const override { return infos_; }
  TensorBytes read(std::string_view name) const override;
  const Json& config() const override { return config_; }
  void check() const override;
  const std::vector<std::string>& foreign_globals() const { return foreign_globals_; }  // read as inert records
  void verify() const;                                                                  // all checksums

 private:
  std::vector<std::string> add_file(const std::string& path);

  std::vector<std::shared_ptr<const TorchFile>> files_;
  std::vector<TensorInfo> infos_;
  std::unordered_map<std::string, std::pair<size_t, size_t>> places_;  // name -> file, position in it
  std::vector<std::string> foreign_globals_;
  Json config_;
};

bool looks_like_torch(const Location& at);
std::unique_ptr<Checkpoint> open_torch(const Location& at);

}  // namespace caravan::formats
