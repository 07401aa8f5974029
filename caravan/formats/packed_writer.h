// Writes q4_0 and q8_0 matrices as a Hugging Face folder in compressed-tensors' "pack-quantized" layout (groups of 32,
// symmetric, half scales): the same numbers, which transformers loads with the compressed-tensors package.
//
//   auto writer = CheckpointWriter::create("out", plan, config, {.format = "compressed-tensors"});
//
// Matrices in other types stay as they are, and are named in "ignore"; embeddings must be among these.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "caravan/formats/writer.h"

namespace caravan::formats {

// Throws unsupported for other block types, and for q4_0 and q8_0 in one checkpoint.
std::unique_ptr<CheckpointWriter> create_packed(const std::string& path, std::vector<TensorInfo> plan,
                                                const Json& config, const WriteOptions& options);

}  // namespace caravan::formats
