// The part that all Hugging Face folders share, whatever file format their tensors have: config.json and side files,
// shards with an index, the order of the plan, and that all of it appears at once or not at all.
//
//   std::unique_ptr<CheckpointWriter> create_torch(path, plan, config, options) {
//     return create_folder(path, std::move(plan), config, options,
//                          {.stem = "pytorch_model", .extension = "bin", .holds = torch_holds, .open =
//                          open_torch_file});
//   }
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/formats/writer.h"

namespace caravan::formats {

// One file being written: exactly the tensors of its plan, in that order, then commit.
class TensorFile {
 public:
  virtual ~TensorFile() = default;
  virtual void write(const TensorInfo& tensor, std::span<const std::byte> bytes) = 0;
  virtual void commit() = 0;
};

struct FolderFormat {
  std::string_view stem, extension;  // "model", "safetensors"
  bool (*holds)(DType);              // dtypes that the format knows
  std::unique_ptr<TensorFile> (*open)(const std::string& path, const std::vector<TensorInfo>& plan);
  bool sharded = true;
};

// An existing folder is replaced if it is empty or holds nothing but files of a checkpoint; anything else is refused,
// so that a mistyped path costs nobody their files.
std::unique_ptr<CheckpointWriter> create_folder(const std::string& path, std::vector<TensorInfo> plan,
                                                const Json& config, const WriteOptions& options,
                                                const FolderFormat& format);

// A plan that is written in order: the tensor that must come next, checked by name and size.
class PlanCursor {
 public:
  explicit PlanCursor(std::vector<TensorInfo> plan);  // invalid_argument for a name given twice, or an empty one
  const std::vector<TensorInfo>& plan() const { return plan_; }
  const TensorInfo& take(std::string_view name, size_t bytes);
  void check_finished() const;

 private:
  std::vector<TensorInfo> plan_;
  size_t next_ = 0;
};

bool is_checkpoint_file(const std::string& name);  // a name that checkpoint folders have: weights, config, tokenizer

}  // namespace caravan::formats
