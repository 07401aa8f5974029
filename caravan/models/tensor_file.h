// Tensors in and out of safetensors files, by name.
//
//   auto tensors = read_tensors("inputs.safetensors");
//   write_tensors("out.safetensors", {{"logits", logits}});
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace caravan::models {

std::map<std::string, at::Tensor> read_tensors(const std::string& path);  // copies, on the CPU
void write_tensors(const std::string& path, const std::vector<std::pair<std::string, at::Tensor>>& tensors);

}  // namespace caravan::models
