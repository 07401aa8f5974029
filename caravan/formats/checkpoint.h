// A checkpoint on disk, whatever its format: named tensors, a config, the files of its tokenizer.
//
//   auto checkpoint = Checkpoint::open("SmolLM2-135M-Instruct.gguf");      // or a folder, .safetensors, .bin, .pth ...
//   for (const TensorInfo& t : checkpoint->tensors()) use(t.name, t.shape, checkpoint->read(t.name).bytes());
//
// Every reader presents Hugging Face's view: tensor names and shapes as transformers saves them (row-major, [out, in]),
// q/k rows in Hugging Face's rotary order, and a config.json (made from the metadata where the format has none).
// Fused projections stay as they are stored here; models split them on load (models/load.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "caravan/base/dtype.h"
#include "caravan/base/json.h"

namespace caravan::formats {

struct TensorInfo {
  std::string name;
  DType dtype = DType::f32;
  std::vector<int64_t> shape;
};

// Contiguous bytes of one tensor. They live in a mapped file or in memory of their own; `owner` keeps either alive.
struct TensorBytes {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;
};

class Checkpoint {
 public:
  virtual ~Checkpoint() = default;

  // Recognizes the format by contents, not by extension. A folder may hold (first match wins): model.safetensors or its
  // index, pytorch_model.bin or its index, params.json + consolidated.NN.pth, flax_model.msgpack, one .gguf.
  // Throws not_found, corrupt_file, unsupported.
  static std::unique_ptr<Checkpoint> open(const std::string& path);

  virtual std::string_view format() const = 0;                 // "safetensors", "gguf", "torch", "meta", "flax"
  virtual const std::vector<TensorInfo>& tensors() const = 0;  // in file order; names unique
  virtual TensorBytes read(std::string_view name) const = 0;   // thread-safe; not_found for an unknown name
  virtual const Json& config() const = 0;                      // config.json's contents; {} where there is none
  virtual void check() const {}                                // throws if a mapped file was truncated since

  const TensorInfo* find(std::string_view name) const;  // nullptr where there is none
  const std::string& path() const { return path_; }

  // Contents of a small text file beside the weights: "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
  // "generation_config.json", "special_tokens_map.json", "vocab.txt" ... Empty where there is none. Formats that carry
  // the same facts inside (a GGUF's chat template and special ids) answer for generation_config.json and
  // tokenizer_config.json as well.
  virtual std::string side_file(std::string_view name) const;
  std::string place_of(std::string_view name) const;  // where messages say it is: "FOLDER/NAME" or "FILE (NAME)"

 protected:
  explicit Checkpoint(std::string path) : path_(std::move(path)) {}
  std::string path_;

 private:
  mutable std::once_flag index_made_;
  mutable std::unordered_map<std::string_view, size_t> index_;  // position in tensors()
};

}  // namespace caravan::formats
