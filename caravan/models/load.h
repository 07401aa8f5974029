// From a checkpoint to a model and back.
//
//   auto model = load_causal_lm("SmolLM2-135M-Instruct.gguf", {.dtype = at::kFloat});
//   save_model(*model, "out");                    // a folder that transformers loads
//
// Loading walks the model's parameters; missing, unexpected and mis-shaped tensors are listed together in one error.
// Tensors of the wanted dtype stay in the mapped file where the device is the CPU; others are converted,
// block-quantized ones dequantized. Fused projections (qkv, gate_up) are split here and never reach model code. The
// backbone's tensors are found with and without their prefix ("model.", "transformer."): a checkpoint of AutoModel fits
// every head, one of any head fits the backbone.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "caravan/formats/checkpoint.h"
#include "caravan/models/heads.h"
#include "caravan/ops/scalar_types.h"

namespace caravan::models {

struct LoadOptions {
  std::optional<at::ScalarType> dtype;  // none: the checkpoint's own (load_dtype.h)
  at::Device device = at::kCPU;
  // Matrices that are stored in GGML's blocks, f16 or bf16 stay so and are multiplied from them (blocks repacked, the
  // others mapped); without: as dense copies. Only where no dtype is asked for and the device is the CPU; such a model
  // computes in fp32 and cannot be trained or saved.
  bool keep_blocks = false;
  std::string packed_cache;  // folder that repacked blocks are kept in for the next start (packed_cache.h); "": none
  std::function<void(const std::string&)> warn = {};  // of such a folder that is of no use
  bool keep_mapped = true;                            // false: always copy out of the file (for training)
  // The checkpoint may come from another head: tensors of this head that it lacks get fresh values, those of its own
  // head are left out. The backbone must be complete either way.
  bool change_head = false;
};

// What changing the head did.
struct LoadReport {
  std::vector<std::string> initialized, left_out;  // names of tensors
};

// Fills every parameter of `model` from the checkpoint.
LoadReport load_parameters(Head& model, const formats::Checkpoint& checkpoint, const LoadOptions& options = {});

// Whether the tensors are those that the config promises, before they are copied elsewhere: missing and mis-shaped ones
// are listed together in one error. Nothing is read; more tensors than needed pass, and so does what has no config or
// is of a family that is not in the registry; of a head that is unknown here only the backbone counts.
void check_complete(const formats::Checkpoint& checkpoint);

std::unique_ptr<CausalLm> load_causal_lm(const std::string& path, const LoadOptions& options = {});
std::unique_ptr<CausalLm> load_causal_lm(const formats::Checkpoint& checkpoint, const LoadOptions& options = {});

// The head that config.json's "architectures" names, Backbone for "LlamaModel"; CausalLm where it names none.
std::unique_ptr<Head> load_head(const formats::Checkpoint& checkpoint, const LoadOptions& options = {});
std::unique_ptr<Head> make_head(const Json& config, std::string_view where = kConfigFile);

struct SaveOptions {
  std::string format = "safetensors";
  int64_t max_shard_bytes = 5'000'000'000;
  std::map<std::string, std::string> side_files;  // tokenizer.json, generation_config.json ...
};

void save_model(Head& model, const std::string& path, const SaveOptions& options = {});

using ops::to_dtype;
using ops::to_scalar_type;

}  // namespace caravan::models
