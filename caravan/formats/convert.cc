// Conversion between checkpoint formats.
#include "caravan/formats/convert.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>

#include "caravan/base/checked.h"
#include "caravan/base/dtype_names.h"
#include "caravan/base/file.h"
#include "caravan/formats/carried_files.h"
#include "caravan/formats/cast.h"
#include "caravan/formats/convert_losses.h"
#include "caravan/formats/folder_writer.h"
#include "caravan/formats/gguf_checkpoint.h"
#include "caravan/formats/gguf_vocabulary.h"
#include "caravan/formats/unread_quantization.h"

namespace caravan::formats {
namespace {

// Tables that transformers before 4.32 saved and every version computes itself; -1e9, which no f16 holds, among them.
bool is_derived_buffer(std::string_view name) {
  return name.ends_with("rotary_emb.inv_freq") || name.ends_with("rotary_emb.cos_cached") ||
         name.ends_with("rotary_emb.sin_cached") || name.ends_with(".masked_bias");
}

bool same_bytes(const Checkpoint& from, std::string_view a, std::string_view b) {
  const TensorInfo *x = from.find(a), *y = from.find(b);
  if (x == nullptr || y == nullptr || x->dtype != y->dtype || x->shape != y->shape) return false;
  const TensorBytes p = from.read(a), q = from.read(b);
  return std::ranges::equal(p.bytes, q.bytes);
}

constexpr std::string_view kHead = "lm_head.weight", kEmbedding = "model.embed_tokens.weight";

bool is_tied(const Checkpoint& from) { return get_bool(from.config(), "tie_word_embeddings", from.path(), false); }

// A head that the config ties to the embedding and that really equals it: transformers saves such a model without it.
bool is_spare_head(const Checkpoint& from, std::string_view name) {
  return name == kHead && is_tied(from) && same_bytes(from, kHead, kEmbedding);
}

// A tied causal LM whose head is not in the source: what another head (a classifier's) is called, the config knows.
bool lacks_head(const Checkpoint& from) {
  if (!is_tied(from) || from.find(kHead) != nullptr || from.find(kEmbedding) == nullptr) return false;
  const Json* architectures = find_member(from.config(), "architectures");
  return architectures == nullptr || dump_json(*architectures, -1).find("CausalLM") != std::string::npos;
}

// The tensor of the source that a planned one is made from.
std::string_view source_of(const Checkpoint& from, std::string_view name) {
  return from.find(name) == nullptr && name == kHead ? kEmbedding : name;
}

// The type that the caller chose, where it can be made from the stored one.
DType chosen_dtype(const TensorInfo& tensor, const Checkpoint& from, const ConvertOptions& options) {
  const DType wanted = options.choose(tensor);
  const bool is_blocks = is_block_quantized(wanted);
  check(!is_blocks || (writer_holds_blocks(options.write.format) && options.quantize != nullptr),
        ErrorCode::unsupported, "tensor '{}': {} blocks cannot be written as {}", tensor.name, to_string(wanted),
        options.write.format);
  if (wanted == tensor.dtype) return wanted;
  const bool readable = is_block_quantized(tensor.dtype) ? options.dequantize != nullptr
                                                         : can_cast(tensor.dtype, is_blocks ? DType::f32 : wanted);
  check(readable, ErrorCode::unsupported, "{}: tensor '{}': {} cannot be converted to {}", from.path(), tensor.name,
        to_string(tensor.dtype), to_string(wanted));
  tensor_bytes(wanted, tensor.shape, tensor.name);  // whole blocks a row, or an error
  return wanted;
}

DType target_dtype(const TensorInfo& tensor, const Checkpoint& from, const ConvertOptions& options) {
  if (options.choose) return chosen_dtype(tensor, from, options);
  if (is_block_quantized(tensor.dtype)) {
    if (!options.dtype.has_value() && writer_holds_blocks(options.write.format)) return tensor.dtype;
    check(options.dequantize != nullptr, ErrorCode::unsupported,
          "{}: tensor '{}' is {} and must be dequantized for this conversion", from.path(), tensor.name,
          to_string(tensor.dtype));
    return options.dtype.value_or(options.dequantized_dtype);
  }
  if (!options.dtype.has_value() || !is_floating_point(tensor.dtype) || tensor.dtype == *options.dtype)
    return tensor.dtype;
  check(can_cast(tensor.dtype, *options.dtype), ErrorCode::unsupported, "tensor '{}': {} cannot be converted to {}",
        tensor.name, to_string(tensor.dtype), to_string(*options.dtype));
  return *options.dtype;
}

// Sets torch_dtype and dtype wherever the config (or a part of it: text_config ...) has them; true if any was there.
bool set_dtype(Json& config, std::string_view name) {
  bool found = false;
  for (auto& [key, value] : config.items()) {
    const bool is_key = key == "torch_dtype" || key == "dtype";
    if (is_key && (value.is_string() || value.is_null())) {
      value = std::string(name);
      found = true;
    } else if (value.is_object()) {
      set_dtype(value, name);
    }
  }
  return found;
}

namespace fs = std::filesystem;

// The files that a checkpoint has at its path; a folder's GGUFs are its own only where it is read from them.
std::vector<fs::path> files_of(const Checkpoint& from) {
  std::vector<fs::path> files;
  const fs::path path = from.path();
  if (const GgufFile* file = gguf_file(from)) {
    for (const std::string& part : file->part_paths()) files.emplace_back(part);
  }
  if (!is_folder(from.path())) {
    files.push_back(path);
    return files;
  }
  for (const std::string& name : list_folder(from.path()).value_or(std::vector<std::string>())) {
    const bool is_weights_of_another = name.ends_with(".gguf") && gguf_file(from) == nullptr;
    if (is_checkpoint_file(name) && !is_weights_of_another) files.push_back(path / name);
  }
  return files;
}

class Converter {
 public:
  Converter(const Checkpoint& from, const ConvertOptions& options) : from_(from), options_(options) {}

  // The tensor's bytes in the dtype of the plan; a view of the source where nothing changes.
  std::span<const std::byte> bytes_of(const TensorInfo& planned) {
    const std::string_view name = source_of(from_, planned.name);
    const DType dtype = from_.find(name)->dtype;
    source_ = from_.read(name);
    if (dtype == planned.dtype) return source_.bytes;
    const bool to_blocks = is_block_quantized(planned.dtype);
    if (!is_block_quantized(dtype) && !to_blocks) return cast(dtype, source_.bytes, planned);
    floats_.resize(static_cast<size_t>(checked_numel(planned.shape, planned.name)));
    if (is_block_quantized(dtype)) {
      options_.dequantize(dtype, source_.bytes, floats_);
    } else {
      cast_elements(dtype, source_.bytes, DType::f32, std::as_writable_bytes(std::span(floats_)));
    }
    if (to_blocks) return quantize(planned);
    const auto bytes = std::as_bytes(std::span(floats_));
    return planned.dtype == DType::f32 ? bytes : cast(DType::f32, bytes, planned);
  }

 private:
  std::span<const std::byte> quantize(const TensorInfo& planned) {
    constexpr float kLargest = 65504.0f;  // of a half, which every block's scale is
    const auto odd = std::ranges::find_if(floats_, [](float v) { return !(v >= -kLargest && v <= kLargest); });
    check_file(odd == floats_.end(), FileFault::range, from_.path(),
               "tensor '{}': element {} is {}, which {} blocks cannot hold", planned.name, odd - floats_.begin(), *odd,
               to_string(planned.dtype));
    converted_.resize(static_cast<size_t>(tensor_bytes(planned.dtype, planned.shape, planned.name)));
    options_.quantize(planned, floats_, converted_);
    return converted_;
  }

  std::span<const std::byte> cast(DType dtype, std::span<const std::byte> bytes, const TensorInfo& planned) {
    converted_.resize(static_cast<size_t>(tensor_bytes(planned.dtype, planned.shape, planned.name)));
    cast_elements(dtype, bytes, planned.dtype, converted_);
    if (const size_t infinite = count_infinite(planned.dtype, converted_); infinite != 0) {
      const size_t before = count_infinite(dtype, bytes);
      check(infinite <= before, ErrorCode::invalid_argument,
            "{}: tensor '{}': {} numbers are beyond the range of {} and would become infinite; {} holds them",
            from_.path(), planned.name, infinite - before, to_string(planned.dtype),
            planned.dtype == DType::f16 ? "bf16" : to_string(dtype));
    }
    return converted_;
  }

  const Checkpoint& from_;
  const ConvertOptions& options_;
  TensorBytes source_;
  std::vector<float> floats_;
  std::vector<std::byte> converted_;
};

}  // namespace

ConvertPlan plan_conversion(const Checkpoint& from, const ConvertOptions& options) {
  constexpr std::array kTargets = {DType::f64, DType::f32, DType::f16, DType::bf16};
  const bool is_copy =
      !options.dtype && !options.choose && (options.write.format == "safetensors" || options.write.format == "torch");
  if (!is_copy) check_quantization_is_read(from);
  const DType wanted = options.dtype.value_or(options.dequantized_dtype);
  check(std::ranges::find(kTargets, wanted) != kTargets.end(), ErrorCode::invalid_argument,
        "tensors are converted to f64, f32, f16 or bf16, not to {}: use quantize for block types", to_string(wanted));
  ConvertPlan plan{.tensors = {}, .config = from.config()};
  bool any_changed = options.dtype.has_value() && !options.choose;
  for (const TensorInfo& tensor : from.tensors()) {
    const bool is_spare = writer_ties_heads(options.write.format) && is_spare_head(from, tensor.name);
    if (is_derived_buffer(tensor.name) || is_spare) continue;
    plan.tensors.push_back({tensor.name, target_dtype(tensor, from, options), tensor.shape});
    any_changed |= plan.tensors.back().dtype != tensor.dtype;
  }
  if (!writer_ties_heads(options.write.format) && lacks_head(from)) {
    const TensorInfo& embedding = *from.find(kEmbedding);
    plan.tensors.push_back({std::string(kHead), target_dtype(embedding, from, options), embedding.shape});
  }
  if (any_changed && !plan.config.empty() && !set_dtype(plan.config, numpy_name(wanted))) {
    plan.config["torch_dtype"] = std::string(numpy_name(wanted));  // the name that every version of transformers reads
  }
  return plan;
}

void check_target(const Checkpoint& from, const std::string& to) {
  const auto is_target = [&to](const fs::path& path) {  // by device and inode
    std::error_code missing;
    return fs::equivalent(path, to, missing);
  };
  const auto would_lose = [&](const fs::path& file) {  // the file, and every folder around it
    for (fs::path at = file;; at = at.parent_path()) {
      if (is_target(at)) return true;
      if (at == at.parent_path()) return false;
    }
  };
  for (const fs::path& file : files_of(from)) {
    std::error_code ignored;  // a link counts where it stands and where it points to
    const bool lost = would_lose(fs::absolute(file, ignored)) || would_lose(fs::canonical(file, ignored));
    check(!lost, ErrorCode::invalid_argument,
          "'{}' cannot be written while {} is read, which would be lost: choose another name", to, file.string());
  }
}

void convert(const Checkpoint& from, const std::string& to, const ConvertOptions& options) {
  check_target(from, to);
  const ConvertPlan plan = plan_conversion(from, options);
  WriteOptions write = options.write;
  write.side_files.merge(carried_files(from));  // what the caller gave stays
  if (const GgufFile* file = gguf_file(from); file != nullptr && write.gguf_metadata.empty()) {
    write.gguf_metadata = gguf_tokenizer_fields(*file);  // GGUF to GGUF: the vocabulary as it is
  }
  int64_t total = 0, done = 0;
  for (const TensorInfo& t : plan.tensors)
    total = checked_add<int64_t>(total, tensor_bytes(t.dtype, t.shape, t.name), t.name);

  const auto writer = CheckpointWriter::create(to, plan.tensors, plan.config, write);
  Converter converter(from, options);
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    const TensorInfo& tensor = plan.tensors[i];
    if (options.progress) options.progress({tensor, i, plan.tensors.size(), done, total});
    const std::span<const std::byte> bytes = converter.bytes_of(tensor);
    writer->write(tensor.name, bytes);
    done += static_cast<int64_t>(bytes.size());
  }
  if (options.warn) {
    for (const std::string& line : conversion_losses(from, options.write.format)) options.warn(line);
  }
  from.check();  // before anything becomes visible: bytes of a file cut in the meantime are zeros
  writer->finish();
}

}  // namespace caravan::formats
