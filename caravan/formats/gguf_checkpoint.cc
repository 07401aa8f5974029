// Each presented tensor is a run of rows of a stored one: usually all of them, a third of a fused attn_qkv.
#include "caravan/formats/gguf_checkpoint.h"

#include <algorithm>
#include <unordered_map>

#include "caravan/base/checked.h"
#include "caravan/base/error.h"
#include "caravan/formats/gguf_config.h"
#include "caravan/formats/gguf_names.h"
#include "caravan/formats/gguf_rotary.h"
#include "caravan/formats/gguf_vocabulary.h"

namespace caravan::formats {
namespace {

struct Source {
  std::span<const std::byte> bytes;
  RotaryRows rows;  // rows.rows is 0 where the order is Hugging Face's already
};

class GgufCheckpoint : public Checkpoint {
 public:
  GgufCheckpoint(const std::string& path, bool is_folder, std::shared_ptr<const GgufFile> file)
      : Checkpoint(path), file_(std::move(file)), is_folder_(is_folder) {
    check_gguf_vocabulary(*file_);
    architecture_ = find_gguf_architecture(file_->get_string("general.architecture"));
    config_ = gguf_config(*file_, architecture_);
    if (architecture_ != nullptr) heads_ = gguf_heads(*file_, *architecture_);
    for (const GgufTensor& t : file_->tensors()) add_stored(t);
    file_->check();
  }

  std::string_view format() const override { return "gguf"; }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const Json& config() const override { return config_; }
  void check() const override { file_->check(); }
  const GgufFile& file() const { return *file_; }

  TensorBytes read(std::string_view name) const override {
    const auto it = index_.find(std::string(name));
    caravan::check(it != index_.end(), ErrorCode::not_found, "{}: there is no tensor \"{}\"", path_, name);
    const Source& source = sources_[it->second];
    if (source.rows.rows == 0) return {source.bytes, file_->owner()};
    auto ordered = std::make_shared<std::vector<std::byte>>(source.bytes.size());
    rows_to_huggingface(source.rows, source.bytes, *ordered);
    file_->check();
    const std::span<const std::byte> bytes = *ordered;
    return {bytes, std::move(ordered)};
  }

  // A tokenizer inside the file is the model's own: files beside it may belong to another one.
  std::string side_file(std::string_view name) const override {
    const std::string inside = gguf_side_file(*file_, name);
    const bool has_own_vocabulary = file_->has("tokenizer.ggml.tokens");
    return !inside.empty() || (has_own_vocabulary && !is_folder_) ? inside : Checkpoint::side_file(name);
  }

 private:
  void add_stored(const GgufTensor& t) {
    if (is_gguf_rope_tensor(t.name) && architecture_ != nullptr) return;
    const bool fused = t.name.find(".attn_qkv.") != std::string_view::npos;
    if (architecture_ != nullptr && fused) return add_fused(t);
    add(std::string(t.name), t.dtype, t.shape, t.bytes);
  }

  // attn_qkv [(H + 2K) D, C] or its bias: q, k and v one below the other.
  void add_fused(const GgufTensor& t) {
    const int64_t q = checked_mul<int64_t>(heads_.heads, heads_.head_dim, path_),
                  k = q / heads_.heads * heads_.kv_heads;
    check_file(!t.shape.empty() && t.shape[0] == q + 2 * k, FileFault::layout, path_, "{} must have {} + 2 * {} rows",
               t.name, q, k);
    const size_t row = t.bytes.size() / static_cast<size_t>(t.shape[0]);
    const size_t at = t.name.find("attn_qkv");
    int64_t begin = 0;
    for (const auto& [letter, rows] : {std::pair{"q", q}, {"k", k}, {"v", k}}) {
      std::vector<int64_t> shape = t.shape;
      shape[0] = rows;
      const std::string name = fmt::format("{}attn_{}{}", t.name.substr(0, at), letter, t.name.substr(at + 8));
      check_file(t.shape.size() > 1 || !is_block_quantized(t.dtype), FileFault::unsupported, path_, "{}: a {} bias",
                 t.name, to_string(t.dtype));
      add(name, t.dtype, std::move(shape),
          t.bytes.subspan(static_cast<size_t>(begin) * row, static_cast<size_t>(rows) * row));
      begin += rows;
    }
  }

  void add(const std::string& name, DType dtype, std::vector<int64_t> shape, std::span<const std::byte> bytes) {
    Source source{bytes, {}};
    TensorInfo info{name, dtype, std::move(shape)};
    if (architecture_ != nullptr) {
      info.name = huggingface_tensor_name(*architecture_, name).value_or(name);
      const bool q = name.find(".attn_q.") != std::string::npos, k = name.find(".attn_k.") != std::string::npos;
      if (architecture_->permutes_qk && (q || k))
        source.rows = rotary_rows(info, q ? heads_.heads : heads_.kv_heads, bytes.size());
    }
    check_file(index_.emplace(info.name, tensors_.size()).second, FileFault::duplicate, path_, "two tensors are \"{}\"",
               info.name);
    tensors_.push_back(std::move(info));
    sources_.push_back(source);
  }

  RotaryRows rotary_rows(const TensorInfo& t, int64_t heads, size_t bytes) const {
    const int64_t rows = t.shape.empty() ? 0 : t.shape[0];
    check_file(heads > 0 && rows > 0 && rows % (2 * heads) == 0, FileFault::layout, path_,
               "{}: {} rows are no {} heads of an even width", t.name, rows, heads);
    check_file(t.shape.size() > 1 || !is_block_quantized(t.dtype), FileFault::unsupported, path_, "{}: a {} bias",
               t.name, to_string(t.dtype));
    return {.heads = heads, .rows = rows, .row_bytes = static_cast<int64_t>(bytes) / rows};
  }

  std::shared_ptr<const GgufFile> file_;
  bool is_folder_;
  const GgufArchitecture* architecture_ = nullptr;
  GgufHeads heads_;
  Json config_;
  std::vector<TensorInfo> tensors_;
  std::vector<Source> sources_;
  std::unordered_map<std::string, size_t> index_;
};

// The folder's one GGUF: a single file, or the first part where all files are parts.
std::string file_in_folder(const Location& at) {
  if (const std::string* only = at.only(".gguf")) return *only;
  std::string first;
  size_t files = 0, parts = 0;
  for (const std::string& name : at.names) {
    if (!name.ends_with(".gguf")) continue;
    ++files;
    parts += name.find("-of-") != std::string::npos;
    if (name.find("-00001-of-") == std::string::npos) continue;
    if (!first.empty()) return "";
    first = name;
  }
  return files == parts ? first : "";
}

}  // namespace

bool looks_like_gguf(const Location& at) {
  return at.is_folder ? !file_in_folder(at).empty() : at.head.starts_with("GGUF");
}

std::unique_ptr<Checkpoint> open_gguf(const Location& at) {
  const std::string file = at.is_folder ? at.in_folder(file_in_folder(at)) : at.path;
  return std::make_unique<GgufCheckpoint>(at.path, at.is_folder, GgufFile::open(file));
}

const GgufFile* gguf_file(const Checkpoint& checkpoint) {
  const auto* gguf = dynamic_cast<const GgufCheckpoint*>(&checkpoint);
  return gguf == nullptr ? nullptr : &gguf->file();
}

}  // namespace caravan::formats
