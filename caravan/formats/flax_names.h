// Names and layouts of Flax parameters: params/model/layers/0/self_attn/q_proj/kernel [in, out] is the transpose of
// model.layers.0.self_attn.q_proj.weight [out, in].
//
// Source: transformers 4's modeling_flax_pytorch_utils.py and modeling_flax_llama.py (both directions). Without a model
// at hand the module's kind is told from names and shapes: a matrix whose module is an embedding becomes `embedding`,
// every other `kernel`; a vector beside a bias is a LayerNorm's `scale`, without one an RMSNorm's `weight`.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/formats/checkpoint.h"

namespace caravan::formats {

// Whether the axes are in Flax's order: reversed, and for the four of a convolution [h, w, in, out] for [out, in, h,
// w].
struct FlaxName {
  std::vector<std::string> path;  // Flax: {"model", "lm_head", "kernel"}
  bool is_transposed = false;
};

// The name in Hugging Face's terms, joined by dots.
std::string from_flax_name(const FlaxName& flax);
// What a leaf of this name and rank means.
bool is_flax_kernel(std::string_view leaf, size_t rank);

// `all_names` must be sorted: siblings tell what kind of module a vector belongs to. Throws unsupported for a name that
// would not come back the same.
FlaxName to_flax_name(const TensorInfo& tensor, std::span<const std::string> all_names);

std::vector<int64_t> to_flax_shape(std::vector<int64_t> shape);
std::vector<int64_t> from_flax_shape(std::vector<int64_t> shape);

// Moves the elements of a tensor of `shape` (as stored) to the other layout; unit: bytes of an element.
void transpose_to_flax(std::span<const std::byte> from, std::span<const int64_t> shape, size_t unit,
                       std::span<std::byte> to);
void transpose_from_flax(std::span<const std::byte> from, std::span<const int64_t> shape, size_t unit,
                         std::span<std::byte> to);

}  // namespace caravan::formats
