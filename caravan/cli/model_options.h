// Options of commands that run a model: which one, in which dtype, on which device.
//
//   ModelOptions options;  add_model_options(app, options);
//   auto model = models::load_causal_lm(*checkpoint, load_options(options, settings));
#pragma once

#include <optional>
#include <string>

#include "caravan/cli/command.h"
#include "caravan/models/load.h"

namespace caravan::cli {

struct ModelOptions {
  std::string model, dtype, device = "cpu", cache_dtype = "auto", packed_cache;
};

void add_model_options(CLI::App& app, ModelOptions& options, bool needed = true);

// For commands that generate text: --kv-cache-dtype, --packed-cache.
void add_cache_options(CLI::App& app, ModelOptions& options);
std::optional<at::ScalarType> cache_dtype(const ModelOptions& options);  // nothing for auto

// Checks the names and sets libtorch's number of threads. Without --dtype: the checkpoint's own dtype, f32 for
// block-quantized ones.
models::LoadOptions load_options(const ModelOptions& options, const Settings& settings);

}  // namespace caravan::cli
