// What a checkpoint's names, shapes and config say about the network, without loading a weight: the tree of its modules
// and the sizes of the parts of a decoder. Works for any checkpoint; what is not there stays 0 or empty.
//
//   ModuleTree tree = build_tree(checkpoint->tensors());
//   print(format_tree(tree));
//   Architecture a = describe(checkpoint->config(), checkpoint->tensors());
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "caravan/base/json.h"
#include "caravan/formats/checkpoint.h"

namespace caravan::cli {

uint64_t element_count(const formats::TensorInfo& tensor);
uint64_t byte_count(const formats::TensorInfo& tensor);

// --- the tree of modules -------------------------------------------------------------------------------------------
struct ModuleTree {
  std::string name;                             // "layers", "0", "weight"
  const formats::TensorInfo* tensor = nullptr;  // leaves only
  std::vector<ModuleTree> children;             // in the order that data takes
  uint64_t parameters = 0;                      // of everything below
};

ModuleTree build_tree(std::span<const formats::TensorInfo> tensors);

// One line a module; equal neighbours that are numbered ("0", "1", ...) are folded into one with their count. A module
// whose only tensors are weight and bias takes one line.
std::string format_tree(const ModuleTree& root);

// --- the parts of a decoder ----------------------------------------------------------------------------------------
enum class Part { embedding, attention, mlp, norm, head, other };
inline constexpr size_t kParts = 6;
Part part_of(std::string_view tensor_name);

// [out, in] of a projection; 0 where the checkpoint has none.
struct Projection {
  int64_t out = 0, in = 0;
  bool bias = false;
  explicit operator bool() const { return out > 0; }
};

struct Architecture {
  std::string title, model_type, activation, rope;
  int64_t vocab = 0, hidden = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0, feed_forward = 0, context = 0;
  int64_t sliding_window = 0;
  double norm_eps = 0;
  bool rms_norm = false, qk_norm = false, gated = false, tied = false;
  std::string head_name;  // "lm_head", "score" ...; empty where there is none
  int64_t head_outputs = 0;
  Projection query, key, value, output, gate, up, down;
  std::array<uint64_t, kParts> parameters{};  // whole model, by Part
  uint64_t attention_per_layer = 0, mlp_per_layer = 0, norm_per_layer = 0, total = 0, bytes = 0;
  std::string dtypes;  // "bf16", "q4_k + q6_k + f32"
};

Architecture describe(const Json& config, std::span<const formats::TensorInfo> tensors);

}  // namespace caravan::cli
