// A checkpoint in memory: for tests, and for tensors that never were a file.
//
//   MemoryCheckpoint checkpoint("made");
//   checkpoint.add({"w", DType::f32, {2}}, bytes);
#pragma once

#include <map>
#include <string>
#include <vector>

#include "caravan/base/error.h"
#include "caravan/formats/checkpoint.h"

namespace caravan::formats {

class MemoryCheckpoint final : public Checkpoint {
 public:
  explicit MemoryCheckpoint(std::string name, Json config = Json::object())
      : Checkpoint(std::move(name)), config_(std::move(config)) {}

  // Before the first find() or read().
  void add(TensorInfo tensor, std::vector<std::byte> bytes) {
    bytes_.push_back(std::make_shared<const std::vector<std::byte>>(std::move(bytes)));
    tensors_.push_back(std::move(tensor));
  }
  void add_side_file(const std::string& name, std::string text) { side_files_[name] = std::move(text); }

  std::string_view format() const override { return "memory"; }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const Json& config() const override { return config_; }
  TensorBytes read(std::string_view name) const override {
    const TensorInfo* tensor = find(name);
    caravan::check(tensor != nullptr, ErrorCode::not_found, "{}: there is no tensor '{}'", path_, name);
    const auto& bytes = bytes_[static_cast<size_t>(tensor - tensors_.data())];
    return {*bytes, bytes};
  }
  std::string side_file(std::string_view name) const override {
    const auto it = side_files_.find(std::string(name));
    return it == side_files_.end() ? std::string() : it->second;
  }

 private:
  Json config_;
  std::vector<TensorInfo> tensors_;
  std::vector<std::shared_ptr<const std::vector<std::byte>>> bytes_;
  std::map<std::string, std::string> side_files_;
};

}  // namespace caravan::formats
