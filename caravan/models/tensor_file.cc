#include "caravan/models/tensor_file.h"

#include <torch/torch.h>

#include <cstring>

#include "caravan/base/error.h"
#include "caravan/formats/checkpoint.h"
#include "caravan/formats/safetensors_writer.h"
#include "caravan/models/load.h"

namespace caravan::models {

std::map<std::string, at::Tensor> read_tensors(const std::string& path) {
  const auto file = formats::Checkpoint::open(path);
  std::map<std::string, at::Tensor> tensors;
  for (const formats::TensorInfo& info : file->tensors()) {
    const formats::TensorBytes stored = file->read(info.name);
    at::Tensor tensor = at::empty(info.shape, at::TensorOptions().dtype(to_scalar_type(info.dtype)));
    check(tensor.nbytes() == stored.bytes.size(), ErrorCode::corrupt_file, "{}: {} has {} bytes, {} were expected",
          path, info.name, stored.bytes.size(), tensor.nbytes());
    if (!stored.bytes.empty()) std::memcpy(tensor.mutable_data_ptr(), stored.bytes.data(), stored.bytes.size());
    tensors.emplace(info.name, std::move(tensor));
  }
  file->check();
  return tensors;
}

void write_tensors(const std::string& path, const std::vector<std::pair<std::string, at::Tensor>>& tensors) {
  std::vector<formats::TensorInfo> plan;
  for (const auto& [name, tensor] : tensors)
    plan.push_back({name, to_dtype(tensor.scalar_type()), tensor.sizes().vec()});
  const auto file = formats::create_safetensors_file(path, plan);
  for (size_t i = 0; i < tensors.size(); ++i) {
    const at::Tensor value = tensors[i].second.detach().to(at::kCPU).contiguous();
    file->write(plan[i], {static_cast<const std::byte*>(value.const_data_ptr()), value.nbytes()});
  }
  file->commit();
}

}  // namespace caravan::models
