// Safetensors files, written front to back.
#include "caravan/formats/safetensors_writer.h"

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/formats/safetensors_header.h"

namespace caravan::formats {
namespace {

class SafetensorsFile final : public TensorFile {
 public:
  SafetensorsFile(const std::string& path, const std::vector<TensorInfo>& plan,
                  const std::map<std::string, std::string>& metadata)
      : cursor_(plan), file_(path) {
    file_.write(make_safetensors_header(plan, metadata));
  }
  void write(const TensorInfo& tensor, std::span<const std::byte> bytes) override {
    cursor_.take(tensor.name, bytes.size());
    file_.write(bytes);
  }
  void commit() override {
    cursor_.check_finished();
    file_.commit();
  }

 private:
  PlanCursor cursor_;
  AtomicFile file_;
};

}  // namespace

std::unique_ptr<TensorFile> create_safetensors_file(const std::string& path, const std::vector<TensorInfo>& plan,
                                                    const std::map<std::string, std::string>& metadata) {
  return std::make_unique<SafetensorsFile>(path, plan, metadata);
}

std::unique_ptr<CheckpointWriter> create_safetensors(const std::string& path, std::vector<TensorInfo> plan,
                                                     const Json& config, const WriteOptions& options) {
  const auto open = [](const std::string& file, const std::vector<TensorInfo>& tensors) {
    return create_safetensors_file(file, tensors);
  };
  return create_folder(path, std::move(plan), config, options,
                       {.stem = "model", .extension = "safetensors", .holds = safetensors_holds, .open = open});
}

}  // namespace caravan::formats
