// The plan is known, so every offset is: the header goes out first, then the tensors in the plan's order.
#include "caravan/formats/gguf_writer.h"

#include <algorithm>

#include "caravan/base/checked.h"
#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/formats/cast.h"
#include "caravan/formats/gguf_encode.h"
#include "caravan/formats/gguf_metadata.h"
#include "caravan/formats/gguf_parse.h"
#include "caravan/formats/gguf_rotary.h"

namespace caravan::formats {
namespace {

using Fields = std::vector<std::pair<std::string, GgufValue>>;
constexpr int64_t kAlignment = 32;

GgufValue* find_value(Fields& fields, std::string_view key) {
  const auto it = std::find_if(fields.begin(), fields.end(), [&](const auto& field) { return field.first == key; });
  return it == fields.end() ? nullptr : &it->second;
}

void set_all(Fields& fields, const Fields& given) {
  for (const auto& [key, value] : given) {
    if (GgufValue* old = find_value(fields, key)) {
      *old = value;
    } else {
      fields.emplace_back(key, value);
    }
  }
}

// llama.cpp takes the number of tokens for the number of embedding rows: padded embeddings get tokens that are never
// produced (type 5, unused), as its own converter makes them.
void pad_tokens(Fields& fields, std::span<const TensorInfo> plan) {
  GgufValue* value = find_value(fields, "tokenizer.ggml.tokens");
  const auto embedding =
      std::find_if(plan.begin(), plan.end(), [](const TensorInfo& t) { return t.name == "model.embed_tokens.weight"; });
  if (value == nullptr || embedding == plan.end() || embedding->shape.empty()) return;
  auto* tokens = std::get_if<std::vector<std::string>>(value);
  check(tokens != nullptr, ErrorCode::invalid_argument, "tokenizer.ggml.tokens must be strings");
  const auto rows = static_cast<size_t>(embedding->shape[0]);
  check(tokens->size() <= rows, ErrorCode::invalid_argument, "{} tokens for an embedding of {} rows", tokens->size(),
        rows);
  for (size_t i = tokens->size(); i < rows; ++i) tokens->push_back(fmt::format("[PAD{}]", i));
  if (GgufValue* scores = find_value(fields, "tokenizer.ggml.scores"))
    std::get<std::vector<float>>(*scores).resize(rows, -1000.0f);
  if (GgufValue* types = find_value(fields, "tokenizer.ggml.token_type"))
    std::get<std::vector<int32_t>>(*types).resize(rows, 5);
}

struct Planned {
  TensorInfo source;  // Hugging Face's name, the caller's dtype
  std::string name;   // GGUF's
  DType dtype;        // as stored
  int64_t bytes = 0;  // as stored
  int64_t heads = 0;  // of rows to be reordered; 0: none
};

class GgufWriter : public CheckpointWriter {
 public:
  GgufWriter(const std::string& path, const std::vector<TensorInfo>& plan, const Json& config,
             const WriteOptions& options)
      : path_(path), model_(gguf_model(config, plan)) {
    plan_tensors(plan);
    set_all(model_.fields, options.gguf_metadata);
    pad_tokens(model_.fields, plan);
    file_.emplace(path, file_exists(path) ? Existing::replace : Existing::keep);
    write_header();
  }

  void write(std::string_view name, std::span<const std::byte> bytes) override {
    check(next_ < plan_.size() && plan_[next_].source.name == name, ErrorCode::invalid_argument,
          "{}: the tensor \"{}\" is not the next of the plan, \"{}\"", path_, name,
          next_ < plan_.size() ? plan_[next_].source.name : "");
    const Planned& t = plan_[next_];
    const int64_t expected = tensor_bytes(t.source.dtype, t.source.shape, t.source.name);
    check(static_cast<int64_t>(bytes.size()) == expected, ErrorCode::invalid_argument,
          "{}: \"{}\" has {} bytes, its plan says {}", path_, name, bytes.size(), expected);
    if (t.dtype != t.source.dtype) {
      converted_.resize(static_cast<size_t>(t.bytes));
      cast_elements(t.source.dtype, bytes, t.dtype, converted_);
      bytes = converted_;
    }
    if (t.heads > 0 && !bytes.empty()) {
      const int64_t rows = t.source.shape[0];
      ordered_.resize(bytes.size());
      rows_to_gguf({.heads = t.heads, .rows = rows, .row_bytes = t.bytes / rows}, bytes, ordered_);
      bytes = ordered_;
    }
    write_padded(bytes);
    ++next_;
  }

  void finish() override {
    check(next_ == plan_.size(), ErrorCode::invalid_argument, "{}: {} of {} tensors were written", path_, next_,
          plan_.size());
    file_->commit();
  }

 private:
  // transformers' AutoModel saves the names of a language model without "model." before them.
  void refuse_backbone(const std::vector<TensorInfo>& plan) const {
    const auto is_named = [&](const std::string& name) {
      return gguf_tensor_name(*model_.architecture, name).has_value();
    };
    const bool is_backbone =
        std::none_of(plan.begin(), plan.end(), [&](const TensorInfo& t) { return is_named(t.name); }) &&
        std::all_of(plan.begin(), plan.end(), [&](const TensorInfo& t) { return is_named("model." + t.name); });
    check(plan.empty() || !is_backbone, ErrorCode::unsupported,
          "{}: the checkpoint is a bare model without a head (\"{}\" instead of \"model.{}\", no lm_head.weight), as "
          "transformers' AutoModel saves it, and GGUF holds language models: take a checkpoint that "
          "AutoModelForCausalLM saved, or write a folder",
          path_, plan[0].name, plan[0].name);
  }

  void plan_tensors(const std::vector<TensorInfo>& plan) {
    refuse_backbone(plan);
    std::string nameless, unstorable;
    for (const TensorInfo& t : plan) {
      const std::optional<std::string> name = gguf_tensor_name(*model_.architecture, t.name);
      if (!name) {
        nameless.append(nameless.empty() ? "" : ", ").append(t.name);
        continue;
      }
      Planned p{.source = t, .name = *name, .dtype = t.dtype};
      if (t.shape.size() <= 1 && can_cast(t.dtype, DType::f32)) p.dtype = DType::f32;
      if (gguf_tensor_type(p.dtype) < 0 || t.shape.size() > 4) {
        unstorable.append(unstorable.empty() ? "" : ", ").append(fmt::format("{} ({})", t.name, to_string(t.dtype)));
        continue;
      }
      p.bytes = tensor_bytes(p.dtype, t.shape, t.name);
      p.heads = rotary_heads(p);
      plan_.push_back(std::move(p));
    }
    check(nameless.empty(), ErrorCode::unsupported, "{}: GGUF's {} has no name for: {}", path_,
          model_.architecture->name, nameless);
    check(unstorable.empty(), ErrorCode::unsupported, "{}: GGUF cannot store: {}", path_, unstorable);
  }

  int64_t rotary_heads(const Planned& p) const {
    if (!model_.architecture->permutes_qk) return 0;
    const bool q = p.name.find(".attn_q.") != std::string::npos, k = p.name.find(".attn_k.") != std::string::npos;
    if (!q && !k) return 0;
    const int64_t heads = q ? model_.heads : model_.kv_heads;
    check(!p.source.shape.empty() && p.source.shape[0] % (2 * heads) == 0, ErrorCode::invalid_argument,
          "{}: {} rows are no {} heads of an even width", p.source.name, p.source.shape.empty() ? 0 : p.source.shape[0],
          heads);
    return heads;
  }

  void write_header() {
    GgufEncoder out;
    out.header(3, model_.extra_tensors.size() + plan_.size(), model_.fields.size());
    for (const auto& [key, value] : model_.fields) out.field(key, value);
    int64_t offset = 0;
    const auto place = [&](const std::string& name, std::span<const int64_t> shape, DType dtype, int64_t bytes) {
      out.tensor_info(name, shape, static_cast<uint32_t>(gguf_tensor_type(dtype)), static_cast<uint64_t>(offset));
      offset =
          checked_add<int64_t>(offset, (checked_add<int64_t>(bytes, kAlignment - 1, path_) & ~(kAlignment - 1)), path_);
    };
    for (const GgufExtraTensor& t : model_.extra_tensors) {
      const auto n = static_cast<int64_t>(t.values.size());
      place(t.name, std::span(&n, 1), DType::f32, n * static_cast<int64_t>(sizeof(float)));
    }
    for (const Planned& p : plan_) place(p.name, p.source.shape, p.dtype, p.bytes);
    file_->write(out.pad(kAlignment).bytes());
    for (const GgufExtraTensor& t : model_.extra_tensors) write_padded(std::as_bytes(std::span(t.values)));
  }

  void write_padded(std::span<const std::byte> bytes) {
    constexpr std::byte kZeros[kAlignment] = {};
    file_->write(bytes);
    const size_t over = bytes.size() % kAlignment;
    if (over != 0) file_->write(std::span(kZeros, kAlignment - over));
  }

  std::string path_;
  GgufModel model_;
  std::vector<Planned> plan_;
  size_t next_ = 0;
  std::optional<AtomicFile> file_;
  std::vector<std::byte> converted_, ordered_;
};

}  // namespace

std::unique_ptr<CheckpointWriter> create_gguf(const std::string& path, std::vector<TensorInfo> plan, const Json& config,
                                              const WriteOptions& options) {
  return std::make_unique<GgufWriter>(path, plan, config, options);
}

}  // namespace caravan::formats
