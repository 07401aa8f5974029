#include "caravan/cli/model_options.h"

#include <ATen/Parallel.h>
#include <torch/cuda.h>

#include <algorithm>
#include <thread>

#include "caravan/base/error.h"
#include "caravan/cli/log.h"
#include "caravan/models/load_dtype.h"
#include "caravan/ops/cuda.h"

namespace caravan::cli {
namespace {

at::Device parse_device(const std::string& name) {
  const bool numbered = name.starts_with("cuda:") && name.size() > 5 && name.size() < 9 &&
                        name.find_first_not_of("0123456789", 5) == std::string::npos;
  check(name == "cpu" || name == "cuda" || numbered, ErrorCode::invalid_argument,
        "--device: expected cpu, cuda or cuda:N, got '{}'", name);
  if (name == "cpu") return at::kCPU;
  const int index = numbered ? std::stoi(name.substr(5)) : 0;
  ops::load_cuda();  // libtorch looks for its CUDA library once, at the first question about it
  check(torch::cuda::is_available(), ErrorCode::unsupported,
        "--device {}: no CUDA device can be used (no GPU, no driver, or a libtorch without CUDA); use --device cpu",
        name);
  check(index < static_cast<int>(torch::cuda::device_count()), ErrorCode::invalid_argument,
        "--device {}: this machine has {} CUDA devices", name, torch::cuda::device_count());
  return {at::kCUDA, static_cast<at::DeviceIndex>(index)};
}

}  // namespace

void add_model_options(CLI::App& app, ModelOptions& options, bool needed) {
  add_model_argument(app, options.model, "checkpoint: folder, .safetensors or .gguf", needed);
  app.add_option("--dtype", options.dtype,
                 "f32, bf16, f16, f64: all weights and numbers in this type (default: weights as they are stored)");
  app.add_option("--device", options.device, "cpu, cuda, cuda:N (default: cpu)");
}

void add_cache_options(CLI::App& app, ModelOptions& options) {
  app.add_option(
      "--kv-cache-dtype", options.cache_dtype,
      "keys and values of earlier tokens in f32, bf16 (half the memory) or int8 (a quarter), each token's and "
      "head's with its own scale; auto: as the model computes (default: auto)");
  app.add_option(
         "--packed-cache", options.packed_cache,
         "folder that repacked weights are kept in, made where there is none: the next start checks and maps them "
         "(default: repack at every start)")
      ->type_name("FOLDER");
}

std::optional<at::ScalarType> cache_dtype(const ModelOptions& options) {
  if (options.cache_dtype == "auto") return std::nullopt;
  if (options.cache_dtype == "f32") return at::kFloat;
  if (options.cache_dtype == "bf16") return at::kBFloat16;
  check(options.cache_dtype == "int8", ErrorCode::invalid_argument,
        "--kv-cache-dtype: expected auto, f32, bf16 or int8, got '{}'", options.cache_dtype);
  check(options.device == "cpu", ErrorCode::unsupported, "--kv-cache-dtype int8: on the CPU only, not on {}",
        options.device);
  return at::kChar;
}

models::LoadOptions load_options(const ModelOptions& options, const Settings& settings) {
  models::LoadOptions load;
  if (!options.dtype.empty() && options.dtype != "auto") {
    const auto dtype = find_dtype(options.dtype);
    check(dtype.has_value() && models::is_compute_dtype(*dtype), ErrorCode::invalid_argument,
          "--dtype: expected f32, bf16, f16 or f64, got '{}'", options.dtype);
    load.dtype = models::to_scalar_type(*dtype);
  }
  load.device = parse_device(options.device);
  load.packed_cache = options.packed_cache;
  load.warn = [](const std::string& line) { log_info("warning: {}", line); };
  if (settings.threads > 0) {
    // More threads than this only wait, and a system that refuses to start them ends the program inside OpenMP.
    const int most = 4 * std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
    if (settings.threads > most) log_info("--threads {}: {} are used", settings.threads, most);
    at::set_num_threads(std::min(settings.threads, most));
  }
  return load;
}

}  // namespace caravan::cli
