// Writes a Hugging Face folder with flax_model.msgpack, byte for byte what flax.serialization.to_bytes gives for the
// same nested dictionary.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "caravan/formats/folder_writer.h"

namespace caravan::formats {

std::unique_ptr<CheckpointWriter> create_flax(const std::string& path, std::vector<TensorInfo> plan, const Json& config,
                                              const WriteOptions& options);

// One file of any tensors. Arrays of more than chunk_bytes are cut, as flax cuts them (msgpack's own limit is 4 GiB).
std::unique_ptr<TensorFile> create_flax_file(const std::string& path, const std::vector<TensorInfo>& plan,
                                             int64_t chunk_bytes = int64_t{1} << 30);

}  // namespace caravan::formats
