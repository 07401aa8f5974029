// Tensors of a checkpoint under the names that the model's parameters have: fused projections are split here (a single
// qkv_proj or gate_up_proj, as Phi-3's and vLLM's checkpoints have), and the backbone's tensors get the prefix that
// they have in the model, so neither reaches model code.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "caravan/formats/checkpoint.h"
#include "caravan/models/heads.h"

namespace caravan::models {

// A tensor, or rows [first_row, first_row + shape[0]) of one.
struct SourceTensor {
  std::string stored_name;
  DType dtype = DType::f32;
  std::vector<int64_t> shape;
  int64_t first_row = 0;
  bool is_slice = false;
  bool used = false;
  formats::TensorBytes bytes;  // after load()

  void load(const formats::Checkpoint& checkpoint);
};

// Whether a tensor of this name (in the model's naming) belongs to the backbone rather than to a head.
bool is_backbone_tensor(Head& model, const std::string& name);

std::map<std::string, SourceTensor> split_fused_tensors(const formats::Checkpoint& checkpoint, Head& model);

}  // namespace caravan::models
