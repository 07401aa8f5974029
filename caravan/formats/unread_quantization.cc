#include "caravan/formats/unread_quantization.h"

#include <algorithm>
#include <array>

#include "caravan/base/error.h"

namespace caravan::formats {
namespace {

// Whole names' ends that only quantized layers have. bitsandbytes: SCB, absmax; fp8: scale_inv; hqq: W_q; GPTQ and AWQ:
// qweight; compressed-tensors: weight_packed; quanto: _data and _scale below the weight; mxfp4: blocks and scales.
constexpr std::array<std::string_view, 9> kMarks = {".SCB",          ".weight.absmax", ".weight_scale_inv",
                                                    ".W_q",          ".qweight",       ".weight_packed",
                                                    ".weight._data", "_proj_blocks",   ".weight_format"};

bool is_packed(DType dtype) {
  return dtype == DType::i8 || dtype == DType::u8 || dtype == DType::i32 || dtype == DType::f8_e4m3 ||
         dtype == DType::f8_e5m2;
}

// Integers or floats of 8 bits in the place of a weight, or what only quantized layers have beside it. Floats of 8 bits
// without scales are plain numbers.
const TensorInfo* find_quantized(const Checkpoint& checkpoint, bool is_configured) {
  const auto is_quantized = [&](const TensorInfo& t) {
    if (std::ranges::any_of(kMarks, [&](std::string_view mark) { return t.name.ends_with(mark); })) return true;
    if (!is_packed(t.dtype)) return false;
    if (is_configured) return true;
    return dtype_info(t.dtype).block_bytes == 1 &&
           (checkpoint.find(t.name + "_scale_inv") != nullptr || checkpoint.find(t.name + "_scale") != nullptr);
  };
  const auto it = std::ranges::find_if(checkpoint.tensors(), is_quantized);
  return it == checkpoint.tensors().end() ? nullptr : &*it;
}

std::string said_by(const Json* config) {
  if (config == nullptr) return "by a method that no quantization_config names";
  if (!config->is_object()) return "by a method that is not known: quantization_config is no object";
  const Json* method = find_member(*config, "quant_method");
  if (method == nullptr || !method->is_string()) {
    return "by a method that is not known: quantization_config has no quant_method";
  }
  return fmt::format("by '{}'", method->get<std::string>());
}

}  // namespace

std::optional<std::string> unread_quantization(const Checkpoint& checkpoint) {
  if (!checkpoint.config().is_object()) return std::nullopt;
  const Json* config = find_member(checkpoint.config(), "quantization_config");  // of a method that is read: taken out
  if (config != nullptr && config->is_null()) config = nullptr;
  const TensorInfo* found = find_quantized(checkpoint, config != nullptr);
  if (found == nullptr) return std::nullopt;
  return fmt::format(
      "{}: the weights are quantized {}, which is not read (tensor '{}'); read are gptq, awq (gemm), "
      "auto-round, compressed-tensors (int) and GGUF's blocks: take one of those, or the unquantized model",
      checkpoint.path(), said_by(config), found->name);
}

void check_quantization_is_read(const Checkpoint& checkpoint) {
  const std::optional<std::string> line = unread_quantization(checkpoint);
  check(!line, ErrorCode::unsupported, "{}", line.value_or(""));
}

}  // namespace caravan::formats
