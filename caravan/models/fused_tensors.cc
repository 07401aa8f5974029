#include "caravan/models/fused_tensors.h"

#include <torch/torch.h>

#include <array>

#include "caravan/base/checked.h"

namespace caravan::models {
namespace {

struct Fusion {
  std::string_view fused;                 // the last module of the stored name
  std::array<std::string_view, 3> parts;  // in row order; an empty one ends the list
};
constexpr std::array kFusions = std::to_array<Fusion>({
    {"qkv_proj", {"q_proj", "k_proj", "v_proj"}},
    {"gate_up_proj", {"gate_proj", "up_proj", ""}},
});

// "model.layers.0.self_attn.qkv_proj.weight" -> {"model.layers.0.self_attn.", "qkv_proj", ".weight"}
struct SplitName {
  std::string prefix, module, suffix;
};

SplitName split_name(const std::string& name) {
  const size_t last = name.rfind('.');
  if (last == std::string::npos) return {};
  const size_t before = name.rfind('.', last - 1);
  const size_t begin = before == std::string::npos ? 0 : before + 1;
  return {name.substr(0, begin), name.substr(begin, last - begin), name.substr(last)};
}

using Shapes = std::map<std::string, std::vector<int64_t>>;

// Adds the parts of a fused tensor where the model has them and their rows add up; false leaves it as it is.
bool add_parts(const formats::TensorInfo& tensor, const Shapes& wanted, std::map<std::string, SourceTensor>& sources) {
  const SplitName name = split_name(tensor.name);
  for (const Fusion& fusion : kFusions) {
    if (name.module != fusion.fused || tensor.shape.empty()) continue;
    std::vector<std::pair<std::string, SourceTensor>> parts;
    int64_t row = 0;
    for (std::string_view part : fusion.parts) {
      if (part.empty()) break;
      const std::string full = name.prefix + std::string(part) + name.suffix;
      const auto it = wanted.find(full);
      if (it == wanted.end()) return false;
      parts.emplace_back(full, SourceTensor{.stored_name = tensor.name,
                                            .dtype = tensor.dtype,
                                            .shape = it->second,
                                            .first_row = row,
                                            .is_slice = true});
      row += it->second[0];
    }
    if (row != tensor.shape[0]) return false;
    for (auto& part : parts) sources.insert(std::move(part));
    return true;
  }
  return false;
}

}  // namespace

void SourceTensor::load(const formats::Checkpoint& checkpoint) {
  bytes = checkpoint.read(stored_name);
  if (!is_slice) return;
  const int64_t size = tensor_bytes(dtype, shape, stored_name);
  const int64_t begin = checked_mul<int64_t>(size / shape[0], first_row, stored_name);
  bytes.bytes = bytes.bytes.subspan(static_cast<size_t>(begin), static_cast<size_t>(size));
}

std::map<std::string, SourceTensor> split_fused_tensors(const formats::Checkpoint& checkpoint, Head& model) {
  Shapes wanted;
  for (const nn::NamedParameter& p : model.named_parameters()) wanted[p.name] = p.parameter->shape;
  std::map<std::string, SourceTensor> sources;
  for (const formats::TensorInfo& tensor : checkpoint.tensors()) {
    if (!wanted.contains(tensor.name) && add_parts(tensor, wanted, sources)) continue;
    sources[tensor.name] = {.stored_name = tensor.name, .dtype = tensor.dtype, .shape = tensor.shape};
  }
  return sources;
}

}  // namespace caravan::models
