// Writes a checkpoint tensor by tensor, in any format; memory stays within one tensor.
//
//   auto writer = CheckpointWriter::create("out", plan, config, {.format = "safetensors"});
//   for (const TensorInfo& t : plan) writer->write(t.name, bytes_of(t));     // in the order of the plan
//   writer->finish();                                                        // atomic: before it, nothing is visible
//
// Names, shapes and q/k row order are Hugging Face's, as Checkpoint presents them; a writer turns them into its
// format's.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "caravan/base/json.h"
#include "caravan/formats/checkpoint.h"

namespace caravan::formats {

// A GGUF metadata value that another folder supplies (the tokenizer's vocabulary, the chat template).
using GgufValue = std::variant<bool, uint32_t, int32_t, uint64_t, float, std::string, std::vector<std::string>,
                               std::vector<float>, std::vector<int32_t>, std::vector<uint8_t>>;

struct WriteOptions {
  std::string format = "safetensors";             // "safetensors", "gguf", "torch", "flax": see writer_formats()
  int64_t max_shard_bytes = 5'000'000'000;        // safetensors and torch: more is split, with an index
  std::map<std::string, std::string> side_files;  // file name -> contents, written beside the weights
  std::vector<std::pair<std::string, GgufValue>> gguf_metadata;  // appended to what the config gives
};

std::span<const std::string_view> writer_formats();
bool writer_holds_blocks(std::string_view format);  // whether it can store block-quantized tensors as they are
bool writer_ties_heads(std::string_view format);    // false: a tied model's lm_head.weight must be written all the same

class CheckpointWriter {
 public:
  virtual ~CheckpointWriter() = default;

  // `path` is a folder, except for gguf (a file). Throws unsupported where the format cannot hold a tensor's dtype or
  // the config's model_type (gguf), invalid_argument for an unknown format.
  static std::unique_ptr<CheckpointWriter> create(const std::string& path, std::vector<TensorInfo> plan,
                                                  const Json& config, const WriteOptions& options);

  virtual void write(std::string_view name,
                     std::span<const std::byte> bytes) = 0;  // exactly tensor_bytes() of its plan
  virtual void finish() = 0;
};

}  // namespace caravan::formats
