#include "caravan/models/fused_tensors.h"

#include <torch/torch.h>

#include <algorithm>
#include <array>
#include <set>

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
bool add_parts(const formats::TensorInfo& tensor, const std::string& full_name, const Shapes& wanted,
               std::map<std::string, SourceTensor>& sources) {
  const SplitName name = split_name(full_name);
  for (const Fusion& fusion : kFusions) {
    if (name.module != fusion.fused || tensor.shape.empty()) continue;
    std::vector<std::pair<std::string, SourceTensor>> parts;
    int64_t row = 0;
    for (std::string_view part : fusion.parts) {
      if (part.empty()) break;
      const std::string full = name.prefix + std::string(part) + name.suffix;
      const auto it = wanted.find(full);
      if (it == wanted.end()) return false;
      SourceTensor rows{
          .stored_name = tensor.name, .dtype = tensor.dtype, .shape = tensor.shape, .first_row = row, .is_slice = true};
      rows.shape[0] = it->second[0];  // the rest as stored: whether it fits is compared as for any other tensor
      row += rows.shape[0];
      parts.emplace_back(full, std::move(rows));
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

namespace {

// Where a backbone's tensors stand: before `own` in the model, before `stored` in the checkpoint ("model.", "" ...).
struct Prefixes {
  std::string own, stored;
  std::set<std::string, std::less<>> tops;  // the backbone's direct children: "embed_tokens", "layers" ...

  std::string model_name(const std::string& name) const {
    if (own == stored || !name.starts_with(stored)) return name;
    const std::string rest = name.substr(stored.size());
    return stored.empty() && !tops.contains(rest.substr(0, rest.find('.'))) ? name : own + rest;
  }
};

// The prefix under which the checkpoint has most of the backbone's tensors.
Prefixes find_prefixes(const formats::Checkpoint& checkpoint, Head& model) {
  const std::string path = model.backbone().path();
  Prefixes prefixes{.own = path.empty() ? "" : path + ".", .stored = "", .tops = {}};
  for (const auto& [name, child] : model.backbone().children()) prefixes.tops.insert(name);
  prefixes.stored = prefixes.own;
  size_t most = 0;
  for (const std::string& candidate :
       {prefixes.own, std::string(), std::string("model."), std::string("transformer.")}) {
    size_t found = 0;
    for (const formats::TensorInfo& tensor : checkpoint.tensors()) {
      const std::string_view name = tensor.name;
      if (!name.starts_with(candidate)) continue;
      const std::string_view rest = name.substr(candidate.size());
      found += prefixes.tops.contains(rest.substr(0, rest.find('.'))) ? 1 : 0;
    }
    if (found <= most) continue;
    prefixes.stored = candidate;
    most = found;
  }
  return prefixes;
}

}  // namespace

bool is_backbone_tensor(Head& model, const std::string& name) {
  const std::string path = model.backbone().path();
  if (!path.empty()) return name.starts_with(path + ".");
  const auto& children = model.backbone().children();
  return std::any_of(children.begin(), children.end(),
                     [&](const auto& child) { return name.starts_with(child.first + "."); });
}

std::map<std::string, SourceTensor> split_fused_tensors(const formats::Checkpoint& checkpoint, Head& model) {
  Shapes wanted;
  for (const nn::NamedParameter& p : model.named_parameters()) wanted[p.name] = p.parameter->shape;
  const Prefixes prefixes = find_prefixes(checkpoint, model);
  std::map<std::string, SourceTensor> sources;
  for (const formats::TensorInfo& tensor : checkpoint.tensors()) {
    const std::string name = prefixes.model_name(tensor.name);
    if (!wanted.contains(name) && add_parts(tensor, name, wanted, sources)) continue;
    sources[name] = {.stored_name = tensor.name, .dtype = tensor.dtype, .shape = tensor.shape};
  }
  return sources;
}

}  // namespace caravan::models
