#include "caravan/models/load.h"

#include <torch/torch.h>

#include <algorithm>
#include <map>

#include "caravan/base/dtype_names.h"
#include "caravan/base/error.h"
#include "caravan/base/mapping.h"
#include "caravan/formats/unread_quantization.h"
#include "caravan/formats/writer.h"
#include "caravan/models/check_fits.h"
#include "caravan/models/fused_tensors.h"
#include "caravan/models/load_dtype.h"
#include "caravan/models/multiplied.h"
#include "caravan/models/packed_cache.h"
#include "caravan/models/stored_config.h"
#include "caravan/ops/dequantize.h"
#include "caravan/ops/linear.h"
#include "caravan/ops/threads.h"

namespace caravan::models {
namespace {

// The stored bytes as a tensor that shares them; `owner` stays alive with it.
Tensor share(const formats::TensorBytes& bytes, at::IntArrayRef shape, at::ScalarType type) {
  void* data =
      const_cast<std::byte*>(bytes.bytes.data());  // read-only by contract: models never write loaded weights in place
  return at::from_blob(
      data, shape, [owner = bytes.owner](void*) {}, at::TensorOptions().dtype(type));
}

bool is_aligned(const formats::TensorBytes& bytes, DType dtype) {
  return reinterpret_cast<uintptr_t>(bytes.bytes.data()) % static_cast<uintptr_t>(dtype_info(dtype).block_bytes) == 0;
}

Tensor to_dense(const SourceTensor& source, const LoadOptions& options) {
  if (is_block_quantized(source.dtype)) {
    Tensor dense = at::empty(source.shape, at::kFloat);
    const int64_t rows = source.shape.empty() ? 1 : dense.numel() / source.shape.back();
    const int64_t width = source.shape.empty() ? 1 : source.shape.back();
    const DTypeInfo& info = dtype_info(source.dtype);
    const int64_t row_bytes = width / info.block_size * info.block_bytes;
    ops::parallel_pieces(rows, 16, [&](int64_t begin, int64_t end) {
      ops::dequantize(source.dtype, source.bytes.bytes.data() + begin * row_bytes,
                      dense.mutable_data_ptr<float>() + begin * width, (end - begin) * width);
    });
    return dense.to(options.dtype.value_or(at::kFloat)).to(options.device);
  }
  const at::ScalarType stored = to_scalar_type(source.dtype);
  const bool shared = is_aligned(source.bytes, source.dtype);  // else copied out of the file here
  Tensor tensor;
  if (shared) {
    tensor = share(source.bytes, source.shape, stored);
  } else {
    tensor = at::empty(source.shape, stored);
    std::copy(source.bytes.bytes.begin(), source.bytes.bytes.end(), static_cast<std::byte*>(tensor.mutable_data_ptr()));
  }
  const at::ScalarType wanted = tensor.is_floating_point() ? options.dtype.value_or(stored) : stored;
  if (wanted != stored || options.device != at::kCPU) return tensor.to(options.device, wanted);
  return shared && !options.keep_mapped ? tensor.clone() : tensor;
}

std::string join_shape(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (int64_t d : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(d);
  return text + "]";
}

// One error that names everything that does not fit.
[[noreturn]] void fail_mismatch(const std::string& path, const std::vector<std::string>& missing,
                                const std::vector<std::string>& unexpected, const std::vector<std::string>& misshaped) {
  constexpr size_t kShown = 20;
  std::string message = "the checkpoint does not fit its config";
  const auto list = [&](std::string_view title, const std::vector<std::string>& names) {
    if (names.empty()) return;
    message += fmt::format("\n  {} ({}):", title, names.size());
    for (size_t i = 0; i < std::min(names.size(), kShown); ++i) message += "\n    " + names[i];
    if (names.size() > kShown) message += fmt::format("\n    ... and {} more", names.size() - kShown);
  };
  list("missing tensors", missing);
  list("unexpected tensors", unexpected);
  list("tensors of the wrong shape", misshaped);
  throw_file_error(FileFault::layout, path, message);
}

// Buffers that old checkpoints carry and no model reads.
bool is_ignored(std::string_view name) {
  return name.ends_with("rotary_emb.inv_freq") || name.ends_with("rotary_emb.cos_cached") ||
         name.ends_with("rotary_emb.sin_cached") || name.ends_with(".attn.masked_bias") ||
         name.ends_with("rope_freqs.weight");
}

using Sources = std::map<std::string, SourceTensor>;

constexpr std::string_view kHead = "lm_head.weight", kEmbedding = "model.embed_tokens.weight";

// A tied model whose only copy is stored as the head's.
void use_head_as_embedding(Head& model, Sources& sources) {
  const auto* causal = dynamic_cast<const CausalLm*>(&model);
  if (causal == nullptr || !causal->tied() || sources.contains(std::string(kEmbedding))) return;
  auto head = sources.extract(std::string(kHead));
  if (head.empty()) return;
  head.key() = kEmbedding;
  sources.insert(std::move(head));
}

// The checkpoint's tensors under the names that the model has.
Sources sources_for(Head& model, const formats::Checkpoint& checkpoint) {
  Sources sources = split_fused_tensors(checkpoint, model);
  use_head_as_embedding(model, sources);
  return sources;
}

enum class Surplus { refused, left_alone };

// Compares names and shapes; what does not fit is an error, save for heads where the head may change.
LoadReport match(Head& model, Sources& sources, const std::string& path, bool change_head,
                 Surplus surplus = Surplus::refused) {
  LoadReport report;
  std::vector<std::string> missing, unexpected, misshaped;
  for (const nn::NamedParameter& p : model.named_parameters()) {
    auto it = sources.find(p.name);
    if (it == sources.end()) {
      const bool is_new = change_head && !is_backbone_tensor(model, p.name);
      is_new ? report.initialized.push_back(p.name) : missing.push_back(p.name + " " + join_shape(p.parameter->shape));
      continue;
    }
    if (it->second.shape != p.parameter->shape) {
      misshaped.push_back(fmt::format("{}: {} in the file, {} by the config", p.name, join_shape(it->second.shape),
                                      join_shape(p.parameter->shape)));
    }
    it->second.used = true;
  }
  const auto* causal = dynamic_cast<const CausalLm*>(&model);
  const bool tied = causal != nullptr && causal->tied();
  for (const auto& [name, source] : sources) {
    const bool is_tied_copy = tied && name == kHead;
    if (source.used || is_tied_copy || is_ignored(name) || surplus == Surplus::left_alone) continue;
    change_head && !is_backbone_tensor(model, name) ? report.left_out.push_back(name)
                                                    : unexpected.push_back(name + " " + join_shape(source.shape));
  }
  if (!missing.empty() || !unexpected.empty() || !misshaped.empty()) {
    fail_mismatch(path, missing, unexpected, misshaped);
  }
  return report;
}

struct Target {
  const std::string& name;
  nn::Parameter& parameter;
  bool multiplied;  // not only looked up, as an embedding that no head is tied to
  ops::Arena& arena;
  PackedCache& cache;
};

Tensor packed_blocks(const Target& target) {
  const ops::Weight weight = nn::view(target.parameter);
  Tensor packed = target.cache.find(target.name, ops::packed_bytes(weight));
  if (packed.defined()) return packed;
  packed = ops::pack(weight, &target.arena);
  target.cache.keep(target.name, packed);
  return packed;
}

void load_parameter(const Target& target, SourceTensor& source, const formats::Checkpoint& checkpoint,
                    const LoadOptions& options) {
  nn::Parameter& parameter = target.parameter;
  source.load(checkpoint);
  const bool matrix = source.shape.size() == 2;
  const bool halves = source.dtype == DType::f16 || source.dtype == DType::bf16;
  if (options.keep_blocks && matrix && halves && is_aligned(source.bytes, source.dtype)) {
    parameter.value = share(source.bytes, source.shape, to_scalar_type(source.dtype));
    parameter.packed = parameter.value;
    parameter.dtype = source.dtype;
    return;
  }
  if (options.keep_blocks && matrix && is_block_quantized(source.dtype)) {
    parameter.value = share(source.bytes, {static_cast<int64_t>(source.bytes.bytes.size())}, at::kByte);
    parameter.dtype = source.dtype;
    if (target.multiplied) {
      parameter.packed = packed_blocks(target);
      release_pages(source.bytes.bytes);  // the blocks stay in the file, for lookups of single rows
    }
    return;
  }
  parameter.value = to_dense(source, options);
  parameter.dtype = to_dtype(parameter.value.scalar_type());
  source.bytes = {};
}

// The class that config.json names, "" where it names none.
std::string architecture_of(const Json& config) {
  const Json* names = find_member(config, "architectures");
  const bool is_named = names != nullptr && names->is_array() && !names->empty() && (*names)[0].is_string();
  return is_named ? (*names)[0].get<std::string>() : "";
}

void check_tensors(const formats::Checkpoint& checkpoint, Surplus surplus) {
  const std::string place = checkpoint.place_of("config.json");
  const std::string model_type = get_string(checkpoint.config(), "model_type", place, "");
  if (model_type.empty() || search_family(model_type) == nullptr) return;
  const auto model = make_head(stored_config(checkpoint), place);
  Sources sources = sources_for(*model, checkpoint);
  const std::string named = architecture_of(checkpoint.config());
  const bool has_foreign_head = !named.empty() && named != model->architecture();
  match(*model, sources, checkpoint.path(), has_foreign_head, surplus);
}

}  // namespace

void check_complete(const formats::Checkpoint& checkpoint) {
  if (!formats::unread_quantization(checkpoint)) check_tensors(checkpoint, Surplus::left_alone);
}

void check_fits(const formats::Checkpoint& checkpoint) {
  formats::check_quantization_is_read(checkpoint);
  check_tensors(checkpoint, Surplus::refused);
}

LoadReport load_parameters(Head& model, const formats::Checkpoint& checkpoint, const LoadOptions& given) {
  formats::check_quantization_is_read(checkpoint);
  Sources sources = sources_for(model, checkpoint);
  LoadReport report = match(model, sources, checkpoint.path(), given.change_head);
  std::vector<nn::Parameter*> fresh;
  for (const nn::NamedParameter& p : model.named_parameters()) {
    if (sources.contains(p.name)) continue;
    fresh.push_back(p.parameter);  // all of its module's are drawn; those that are stored come over them below
    nn::initialize(*p.owner, {.std = get_number(model.config(), "initializer_range", model.where(), 0.02)});
  }
  const DType dtype = load_dtype(sources, checkpoint.config(), checkpoint.path());
  LoadOptions options = given;
  options.keep_blocks = given.keep_blocks && !given.dtype && given.device == at::kCPU;
  const bool halves = dtype == DType::f16 || dtype == DType::bf16;
  if (!options.dtype) options.dtype = to_scalar_type(options.keep_blocks && halves ? DType::f32 : dtype);
  ops::Arena arena;
  PackedCache cache(options.keep_blocks ? options.packed_cache : "", checkpoint, options.warn);
  for (const nn::NamedParameter& p : model.named_parameters()) {
    if (!sources.contains(p.name)) continue;
    load_parameter({p.name, *p.parameter, is_multiplied(model, *p.parameter), arena, cache}, sources.at(p.name),
                   checkpoint, options);
  }
  for (nn::Parameter* parameter : fresh) {
    parameter->value = parameter->value.to(options.device, *options.dtype);
    parameter->dtype = to_dtype(parameter->value.scalar_type());
  }
  checkpoint.check();
  cache.save();
  return report;
}

std::unique_ptr<CausalLm> load_causal_lm(const formats::Checkpoint& checkpoint, const LoadOptions& options) {
  auto model = std::make_unique<CausalLm>(stored_config(checkpoint), checkpoint.place_of("config.json"));
  load_parameters(*model, checkpoint, options);
  return model;
}

std::unique_ptr<CausalLm> load_causal_lm(const std::string& path, const LoadOptions& options) {
  return load_causal_lm(*formats::Checkpoint::open(path), options);
}

std::unique_ptr<Head> make_head(const Json& config, std::string_view where) {
  const std::string name = architecture_of(config);
  if (name.ends_with("ForSequenceClassification")) return std::make_unique<SequenceClassifier>(config, where);
  if (name.ends_with("ForTokenClassification")) return std::make_unique<TokenClassifier>(config, where);
  if (name.ends_with("ForQuestionAnswering")) return std::make_unique<QuestionAnswerer>(config, where);
  if (name.ends_with("Model")) return std::make_unique<Backbone>(config, where);
  return std::make_unique<CausalLm>(config, where);
}

std::unique_ptr<Head> load_head(const formats::Checkpoint& checkpoint, const LoadOptions& options) {
  auto model = make_head(stored_config(checkpoint), checkpoint.place_of("config.json"));
  load_parameters(*model, checkpoint, options);
  return model;
}

void save_model(Head& model, const std::string& path, const SaveOptions& options) {
  std::vector<formats::TensorInfo> plan;
  const auto parameters = model.named_parameters();
  for (const nn::NamedParameter& p : parameters) {
    check(p.parameter->defined(), ErrorCode::invalid_argument,
          "{} has no values: load or initialize the model before saving it", p.name);
    check(!is_block_quantized(p.parameter->dtype), ErrorCode::unsupported,
          "{} is held in {} blocks: load the model with a dtype to save it", p.name, to_string(p.parameter->dtype));
    plan.push_back({.name = p.name, .dtype = to_dtype(p.parameter->value.scalar_type()), .shape = p.parameter->shape});
  }
  Json config = model.config();
  config["architectures"] = Json::array({model.architecture()});
  config[config.contains("dtype") ? "dtype" : "torch_dtype"] = numpy_name(plan[0].dtype);
  auto writer = formats::CheckpointWriter::create(
      path, plan, config,
      {.format = options.format, .max_shard_bytes = options.max_shard_bytes, .side_files = options.side_files});
  for (const nn::NamedParameter& p : parameters) {
    const Tensor value = p.parameter->value.detach().to(at::kCPU).contiguous();
    writer->write(p.name, {static_cast<const std::byte*>(value.const_data_ptr()), value.nbytes()});
  }
  writer->finish();
}

}  // namespace caravan::models
