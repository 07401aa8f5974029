// Copies a checkpoint into another format and dtype, tensor by tensor: memory holds one tensor.
//
//   auto from = Checkpoint::open("model.gguf");
//   convert(*from, "out", {.dtype = DType::bf16, .write = {.format = "safetensors"}, .dequantize = rows_to_floats});
//
// What changes: floating-point tensors take `dtype` (integers and booleans keep theirs; without a dtype every byte
// stays); block-quantized tensors are dequantized where a dtype is asked for or the format cannot hold them; derived
// buffers of old checkpoints (rotary_emb.inv_freq) are dropped; lm_head.weight is dropped where the config ties it and
// its bytes are those of the embedding; the config's torch_dtype / dtype says what was written. `choose` and `quantize`
// write block types as well (quant/quantize.h). A number that would become infinite is an invalid_argument.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "caravan/formats/checkpoint.h"
#include "caravan/formats/writer.h"

namespace caravan::formats {

// Blocks of a quantized dtype to floats; formats/ has no kernels, so the caller passes this in.
using Dequantize = std::function<void(DType, std::span<const std::byte> blocks, std::span<float> values)>;

// The values of a tensor, which may be changed, into the block type that it is planned in; called in the order of the
// plan.
using Quantize = std::function<void(const TensorInfo& planned, std::span<float> values, std::span<std::byte> blocks)>;

struct ConvertProgress {
  const TensorInfo& tensor;  // as it is written
  size_t index, count;
  int64_t bytes_done, bytes_total;
};

struct ConvertOptions {
  std::optional<DType> dtype;  // f64, f32, f16, bf16; the source's own dtypes where not given
  DType dequantized_dtype =
      DType::f32;      // of block-quantized tensors that must be dequantized, where `dtype` is not given
  WriteOptions write;  // carried_files of the source are added where not given
  Dequantize dequantize;
  // Where given it decides instead of `dtype`, tensor by tensor, and may name block types; `quantize` fills those.
  std::function<DType(const TensorInfo&)> choose;
  Quantize quantize;
  std::function<void(const ConvertProgress&)> progress;  // before each tensor; may throw to stop
  std::function<void(const std::string&)> warn;          // of what gets lost: convert_losses.h
};

// What will be written, from the source's tensor list alone. Weights of a quantization that is not read
// (unread_quantization.h) are copied byte for byte into safetensors or torch files; anything else throws unsupported.
struct ConvertPlan {
  std::vector<TensorInfo> tensors;
  Json config;
};
ConvertPlan plan_conversion(const Checkpoint& from, const ConvertOptions& options);

// Throws invalid_argument where writing `to` would replace or remove a file of `from` (weights, config, tokenizer):
// itself under any name, or a folder around it. convert() checks it too; callers that work for long before do so first.
void check_target(const Checkpoint& from, const std::string& to);

void convert(const Checkpoint& from, const std::string& to, const ConvertOptions& options);

}  // namespace caravan::formats
