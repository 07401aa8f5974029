// Checkpoints whose weights a method has quantized that is not read here: bitsandbytes, fp8 with scales, hqq ... Their
// tensors have names and dtypes of the method's own, so that nothing but a copy, byte for byte, can be made of them.
#pragma once

#include <optional>
#include <string>

#include "caravan/formats/checkpoint.h"

namespace caravan::formats {

// One line that names the method and what is read instead; nullopt where the weights are plain numbers, or of a method
// that is read (packed_layouts.h). A quantization_config beside plain weights says nothing about them: training in 4 or
// 8 bits leaves such.
std::optional<std::string> unread_quantization(const Checkpoint& checkpoint);

// Throws unsupported with that line.
void check_quantization_is_read(const Checkpoint& checkpoint);

}  // namespace caravan::formats
