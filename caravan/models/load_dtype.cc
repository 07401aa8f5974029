// Source of the choice: transformers 5 from_pretrained(dtype="auto"), where a checkpoint does not have one type.
#include "caravan/models/load_dtype.h"

#include <algorithm>

#include "caravan/base/checked.h"
#include "caravan/base/error.h"

namespace caravan::models {
namespace {

std::optional<DType> dtype_in(const Json& config) {
  for (const char* key : {"dtype", "torch_dtype"}) {
    const Json* name = find_member(config, key);
    if (name == nullptr || !name->is_string()) continue;
    const std::optional<DType> dtype = find_dtype(name->get<std::string>());
    if (dtype && is_compute_dtype(*dtype)) return dtype;
  }
  return std::nullopt;
}

}  // namespace

bool is_compute_dtype(DType dtype) {
  return dtype == DType::f64 || dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16;
}

DType load_dtype(const std::map<std::string, SourceTensor>& sources, const Json& config, const std::string& path) {
  std::map<DType, int64_t> elements;
  bool has_blocks = false;
  for (const auto& [name, source] : sources) {
    if (!source.used) continue;
    const bool is_blocks = is_block_quantized(source.dtype);
    check_file(is_blocks || is_floating_point(source.dtype), FileFault::unsupported, path,
               "tensor '{}' holds {}; weights are floating-point numbers or GGUF blocks", name,
               to_string(source.dtype));
    has_blocks = has_blocks || is_blocks;
    elements[source.dtype] += checked_numel(source.shape, name);
  }
  if (has_blocks) return DType::f32;
  if (elements.size() == 1 && is_compute_dtype(elements.begin()->first)) return elements.begin()->first;
  if (const auto wanted = dtype_in(config)) return *wanted;
  std::erase_if(elements, [](const auto& entry) { return !is_compute_dtype(entry.first); });
  if (elements.empty()) return DType::bf16;
  const auto fewer = [](const auto& a, const auto& b) { return a.second < b.second; };
  return std::max_element(elements.begin(), elements.end(), fewer)->first;
}

}  // namespace caravan::models
