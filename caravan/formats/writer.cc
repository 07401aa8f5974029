// The writers' list.
#include "caravan/formats/writer.h"

#include <algorithm>

#include "caravan/base/error.h"
#include "caravan/formats/flax_writer.h"
#include "caravan/formats/format.h"
#include "caravan/formats/gguf_writer.h"
#include "caravan/formats/packed_writer.h"
#include "caravan/formats/safetensors_writer.h"
#include "caravan/formats/torch_writer.h"

namespace caravan::formats {
namespace {

// {name, create, holds_blocks, ties_heads}
const std::vector<WriterFormat>& list() {
  static const std::vector<WriterFormat> formats = {
      {"safetensors", create_safetensors},
      {"flax", create_flax, false, false},  // transformers' Flax LLaMA has a head of its own, always
      {"torch", create_torch},
      {"gguf", create_gguf, true},
      {"compressed-tensors", create_packed, true},
  };
  return formats;
}

}  // namespace

std::span<const std::string_view> writer_formats() {
  static const std::vector<std::string_view> names = [] {
    std::vector<std::string_view> result;
    for (const WriterFormat& format : list()) result.push_back(format.name);
    return result;
  }();
  return names;
}

bool writer_holds_blocks(std::string_view format) {
  return std::ranges::any_of(list(), [&](const WriterFormat& f) { return f.name == format && f.holds_blocks; });
}

bool writer_ties_heads(std::string_view format) {
  return std::ranges::none_of(list(), [&](const WriterFormat& f) { return f.name == format && !f.ties_heads; });
}

std::unique_ptr<CheckpointWriter> CheckpointWriter::create(const std::string& path, std::vector<TensorInfo> plan,
                                                           const Json& config, const WriteOptions& options) {
  std::string names;
  for (const WriterFormat& format : list()) {
    if (format.name == options.format) return format.create(path, std::move(plan), config, options);
    names.append(names.empty() ? "" : ", ").append(format.name);
  }
  fail(ErrorCode::invalid_argument, "unknown checkpoint format '{}'; formats written: {}", options.format, names);
}

}  // namespace caravan::formats
