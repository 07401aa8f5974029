// Writes safetensors: Hugging Face folders, and single files of any tensors.
//
//   auto file = create_safetensors_file("out.safetensors", {{"logits", DType::f32, {1, 5, 32000}}});
//   file->write(plan[0], bytes); file->commit();
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "caravan/formats/folder_writer.h"

namespace caravan::formats {

// One file, written in the order of the plan in a single pass; it appears at commit().
std::unique_ptr<TensorFile> create_safetensors_file(const std::string& path, const std::vector<TensorInfo>& plan,
                                                    const std::map<std::string, std::string>& metadata = {
                                                        {"format", "pt"}});

// A folder: model.safetensors, or shards with an index, plus config.json and side files.
std::unique_ptr<CheckpointWriter> create_safetensors(const std::string& path, std::vector<TensorInfo> plan,
                                                     const Json& config, const WriteOptions& options);

}  // namespace caravan::formats
