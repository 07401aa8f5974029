// Matrices of small integers as Hugging Face checkpoints pack them, one line a layout:
//
//   gptq        NAME.qweight [in * b / 32, out], qzeros [groups, out * b / 32], scales [groups, out], g_idx [in]
//   awq         NAME.qweight [in, out / 8], qzeros [groups, out / 8], scales [groups, out]; numbers of a word: 0 2 4
//               6 1 3 5 7
//   auto-round  one of the two, by its packing_format
//   compressed-tensors
//               NAME.weight_packed [out, in * b / 32], weight_scale [out, groups], weight_zero_point, weight_g_idx,
//               or NAME.weight (i8) [out, in] with weight_scale
//
// weight[o, i] = scale[o, g(i)] * (level[o, i] - zero[o, g(i)]). Sources: AutoGPTQ's QuantLinear.pack, AutoAWQ's
// WQLinear_GEMM.from_linear, compressed-tensors' pack_to_int32, AutoRound's qlinear_torch and
// qlinear_torch_zp. Left out: AWQ's other versions, activations quantized with stored scales, rotated inputs, fp8, fp4.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "caravan/formats/checkpoint.h"

namespace caravan::formats {

struct PackedMatrix {
  int64_t rows = 0, columns = 0, groups = 1;  // out, in
  int bits = 4;
  std::vector<uint8_t> levels;  // [rows, columns], 0 .. 2^bits - 1
  std::vector<uint8_t> zeros;   // [rows, groups]
  std::vector<float> scales;    // [rows, groups]
  std::vector<int32_t> group;   // [columns]
  bool in_order = true;         // group[i] = i / group size
  int64_t group_size() const { return columns / groups; }
};

struct PackedLayer {
  std::string name;  // "model.layers.0.mlp.up_proj"
  std::vector<int64_t> shape;
  DType scale_dtype = DType::f16;
  int bits = 4;
};

class PackedLayout {
 public:
  virtual ~PackedLayout() = default;
  virtual std::vector<PackedLayer> layers() const = 0;
  virtual bool is_part(std::string_view tensor) const = 0;  // belongs to a layer, and is not shown by itself
  // `with_levels` false: scales, zeros and groups only, which say how the matrix can be shown.
  virtual PackedMatrix read(const PackedLayer& layer, bool with_levels) const = 0;
};

// By config.json's quantization_config; nullptr where there is none (or one that says "bitsandbytes" of plain weights
// ...). Throws unsupported for a method or version that is not read, corrupt_file for numbers that make no sense.
std::unique_ptr<PackedLayout> find_packed_layout(const Checkpoint& checkpoint);

}  // namespace caravan::formats
