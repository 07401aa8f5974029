// The one type that a model's weights are loaded in. Checkpoints mix types: GGUF files keep norms in f32 beside f16 or
// bf16 matrices, trainers save some layers wider than others; the model's products need equal ones.
//
//   options.dtype = options.dtype.value_or(load_dtype(sources, checkpoint.config(), checkpoint.path()));
#pragma once

#include <map>
#include <string>

#include "caravan/base/json.h"
#include "caravan/models/fused_tensors.h"

namespace caravan::models {

// Of the types that models run in: f64, f32, f16, bf16.
bool is_compute_dtype(DType dtype);

// The type that all used tensors share; f32 where any is block-quantized; else the config's "dtype" or "torch_dtype",
// as in transformers; else the type that most elements have; bf16 where all are eight bits wide. A used tensor that
// holds no floating-point numbers is an error (unsupported).
DType load_dtype(const std::map<std::string, SourceTensor>& sources, const Json& config, const std::string& path);

}  // namespace caravan::models
