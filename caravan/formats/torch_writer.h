// Writes pytorch_model.bin as torch.save does: one zip archive (or shards with an index) whose data.pkl is an
// OrderedDict of contiguous tensors, loadable by torch.load(weights_only=True).
//
//   auto writer = CheckpointWriter::create("out", plan, config, {.format = "torch"});
//
// Tensors that share a storage (tied weights) are written as often as the plan names them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "caravan/formats/folder_writer.h"

namespace caravan::formats {

std::unique_ptr<TensorFile> create_torch_file(const std::string& path, const std::vector<TensorInfo>& plan);
std::unique_ptr<CheckpointWriter> create_torch(const std::string& path, std::vector<TensorInfo> plan,
                                               const Json& config, const WriteOptions& options);

}  // namespace caravan::formats
