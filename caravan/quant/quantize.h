// A checkpoint into GGUF's block types, tensor by tensor: memory holds one tensor.
//
//   QuantizeOptions options{.recipe = {.recipe = "q4_k_m"}, .write = {.format = "gguf"}};
//   quantize_checkpoint(*from, "model.gguf", options);
//
// The source may be any checkpoint, quantized ones included: their blocks become floats first, unless the type stays.
#pragma once

#include <functional>
#include <string>

#include "caravan/formats/convert.h"
#include "caravan/quant/calibration.h"
#include "caravan/quant/recipe.h"

namespace caravan::quant {

struct QuantizeOptions {
  RecipeOptions recipe;
  formats::WriteOptions write;
  Importances importances;  // by layer; empty: every error counts the same
  // Rounds a tensor itself, or leaves it (false) to be rounded as without a method.
  std::function<bool(const formats::TensorInfo&, std::span<float> values, std::span<std::byte> blocks)> method;
  std::function<void(const formats::ConvertProgress&)> progress;
  std::function<void(const std::string&)> warn;  // of what the result cannot hold, before it is in place
};

formats::ConvertPlan plan_quantization(const formats::Checkpoint& from, const QuantizeOptions& options);
void quantize_checkpoint(const formats::Checkpoint& from, const std::string& to, const QuantizeOptions& options);

}  // namespace caravan::quant
