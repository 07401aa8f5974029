// Reads safetensors: a file, a folder with model.safetensors, or shards with model.safetensors.index.json. Tensors are
// views of the memory-mapped files.
//
//   auto checkpoint = open_safetensors(Location::of("model.safetensors"));
#pragma once

#include <memory>

#include "caravan/formats/format.h"

namespace caravan::formats {

bool looks_like_safetensors(const Location& at);
std::unique_ptr<Checkpoint> open_safetensors(const Location& at);

}  // namespace caravan::formats
