#include "caravan/formats/meta_checkpoint.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <unordered_map>

#include "caravan/base/checked.h"
#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/formats/torch_file.h"

namespace caravan::formats {
namespace {

// How model parallelism divided a tensor: not at all (every shard holds all of it), by rows, by columns; the embedding
// by columns in LLaMA 1 and 2, by rows in LLaMA 3.
enum class Split { none, rows, columns, embedding };

struct Rule {
  std::string_view meta, hugging_face;
  Split split;
};

constexpr Rule kModelRules[] = {
    {"tok_embeddings.weight", "model.embed_tokens.weight", Split::embedding},
    {"norm.weight", "model.norm.weight", Split::none},
    {"output.weight", "lm_head.weight", Split::rows},
};
constexpr Rule kLayerRules[] = {
    {"attention.wq.weight", "self_attn.q_proj.weight", Split::rows},
    {"attention.wk.weight", "self_attn.k_proj.weight", Split::rows},
    {"attention.wv.weight", "self_attn.v_proj.weight", Split::rows},
    {"attention.wo.weight", "self_attn.o_proj.weight", Split::columns},
    {"feed_forward.w1.weight", "mlp.gate_proj.weight", Split::rows},
    {"feed_forward.w2.weight", "mlp.down_proj.weight", Split::columns},
    {"feed_forward.w3.weight", "mlp.up_proj.weight", Split::rows},
    {"attention_norm.weight", "input_layernorm.weight", Split::none},
    {"ffn_norm.weight", "post_attention_layernorm.weight", Split::none},
};

const Rule* find_rule(std::span<const Rule> rules, std::string_view name) {
  const auto it = std::find_if(rules.begin(), rules.end(), [&](const Rule& rule) { return rule.meta == name; });
  return it == rules.end() ? nullptr : &*it;
}

struct Name {
  std::string text;
  Split split;
};

// "layers.N.attention.wq.weight" -> "model.layers.N.self_attn.q_proj.weight"; empty where Meta has no such name.
Name translate(std::string_view meta, int64_t layers) {
  if (const Rule* rule = find_rule(kModelRules, meta)) return {std::string(rule->hugging_face), rule->split};
  constexpr std::string_view kLayers = "layers.";
  if (!meta.starts_with(kLayers)) return {};
  const std::string_view rest = meta.substr(kLayers.size());
  int64_t layer = -1;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), layer);
  const auto digits = static_cast<size_t>(end - rest.data());
  if (error != std::errc() || layer < 0 || layer >= layers || digits >= rest.size() || rest[digits] != '.') return {};
  const Rule* rule = find_rule(kLayerRules, rest.substr(digits + 1));
  if (rule == nullptr) return {};
  return {fmt::format("model.layers.{}.{}", layer, rule->hugging_face), rule->split};
}

bool is_rope_table(std::string_view name) { return name == "rope.freqs" || name.ends_with(".rope.freqs"); }

std::string shard_file(int64_t i) { return fmt::format("consolidated.{:02}.pth", i); }

class MetaCheckpoint final : public Checkpoint {
 public:
  explicit MetaCheckpoint(const Location& at) : Checkpoint(at.path) {
    params_ = read_meta_params(at.in_folder("params.json"));
    open_shards(at);
    add_tensors();
    make_config();
  }

  std::string_view format() const override { return "meta"; }
  const std::vector<TensorInfo>& tensors() const override { return infos_; }
  const Json& config() const override { return config_; }
  TensorBytes read(std::string_view name) const override;
  void check() const override {
    for (const auto& shard : shards_) shard->check();
  }

 private:
  struct Source {
    std::vector<const TorchTensor*> parts;  // one a shard; one in all where every shard holds the whole
    Split split;
    int64_t rotary_heads = 0;  // rows are reordered within this many heads
  };
  using ByName = std::unordered_map<std::string_view, const TorchTensor*>;

  void open_shards(const Location& at);
  void add_tensors();
  Source collect(const std::string& meta, Split split, const std::vector<ByName>& shards) const;
  std::vector<int64_t> whole_shape(std::string_view meta, Source& source) const;
  void check_shape(const TensorInfo& tensor) const;
  void make_config();
  int64_t source_row(const Source& source, int64_t row, int64_t rows) const;

  MetaParams params_;
  std::vector<std::shared_ptr<const TorchFile>> shards_;
  std::vector<TensorInfo> infos_;
  std::unordered_map<std::string, Source> sources_;  // by Hugging Face's name
  Json config_;
};

void MetaCheckpoint::open_shards(const Location& at) {
  const auto is_shard = [](const std::string& name) {
    return name.starts_with("consolidated.") && name.ends_with(".pth");
  };
  const int64_t n = std::count_if(at.names.begin(), at.names.end(), is_shard);
  for (int64_t i = 0; i < n; ++i) {
    check_file(at.has(shard_file(i)), FileFault::layout, path_, "{} shards, but {} is missing", n, shard_file(i));
    shards_.push_back(TorchFile::open(at.in_folder(shard_file(i))));
  }
}

void MetaCheckpoint::add_tensors() {
  std::vector<ByName> by_name(shards_.size());
  for (size_t i = 0; i < shards_.size(); ++i) {
    for (const TorchTensor& tensor : shards_[i]->tensors()) by_name[i].emplace(tensor.info.name, &tensor);
  }
  std::string unknown;
  for (const TorchTensor& tensor : shards_[0]->tensors()) {
    const std::string& meta = tensor.info.name;
    if (is_rope_table(meta)) continue;
    const Name name = translate(meta, params_.layers);
    if (name.text.empty()) {
      if (unknown.size() < 400) unknown.append(unknown.empty() ? "" : ", ").append(meta);
      continue;
    }
    Source source = collect(meta, name.split, by_name);
    std::vector<int64_t> shape = whole_shape(meta, source);
    TensorInfo info{name.text, tensor.info.dtype, std::move(shape)};
    if (name.text.ends_with("q_proj.weight")) source.rotary_heads = params_.heads;
    if (name.text.ends_with("k_proj.weight")) source.rotary_heads = params_.kv_heads;
    check_shape(info);
    infos_.push_back(info);
    sources_.emplace(name.text, std::move(source));
  }
  check_file(unknown.empty(), FileFault::unsupported, path_, "tensors that Meta's LLaMA layout does not have: {}",
             unknown);
}

// The same tensor of every shard, with the same shape and dtype.
MetaCheckpoint::Source MetaCheckpoint::collect(const std::string& meta, Split split,
                                               const std::vector<ByName>& shards) const {
  Source source{.split = split};
  for (size_t i = 0; i < shards.size(); ++i) {
    const auto it = shards[i].find(meta);
    check_file(it != shards[i].end(), FileFault::layout, path_, "'{}' is missing in {}", meta,
               shard_file(static_cast<int64_t>(i)));
    source.parts.push_back(it->second);
    const TensorInfo &first = source.parts[0]->info, &info = it->second->info;
    check_file(info.shape == first.shape && info.dtype == first.dtype, FileFault::layout, path_,
               "'{}' has another shape or dtype in {}", meta, shard_file(static_cast<int64_t>(i)));
  }
  return source;
}

std::vector<int64_t> MetaCheckpoint::whole_shape(std::string_view meta, Source& source) const {
  std::vector<int64_t> shape = source.parts[0]->info.shape;
  if (source.split == Split::none) source.parts.resize(1);
  if (source.split == Split::none) return shape;
  check_file(shape.size() == 2, FileFault::layout, path_, "'{}' has {} dimensions, 2 are expected", meta, shape.size());
  if (source.split == Split::embedding) source.split = shape[1] == params_.dim ? Split::rows : Split::columns;
  int64_t& split_size = shape[source.split == Split::rows ? 0 : 1];
  split_size = checked_mul<int64_t>(split_size, static_cast<int64_t>(source.parts.size()), path_);
  return shape;
}

// What params.json says about the widths; -1: read from the tensors.
void MetaCheckpoint::check_shape(const TensorInfo& tensor) const {
  const auto expect = [&](std::vector<int64_t> wanted) {
    bool same = tensor.shape.size() == wanted.size();
    for (size_t i = 0; same && i < wanted.size(); ++i) same = wanted[i] == -1 || wanted[i] == tensor.shape[i];
    check_file(same, FileFault::layout, path_, "'{}' has shape [{}], params.json gives [{}] (-1: any)", tensor.name,
               fmt::join(tensor.shape, ", "), fmt::join(wanted, ", "));
  };
  const int64_t q = params_.heads * params_.head_dim, kv = params_.kv_heads * params_.head_dim, c = params_.dim;
  const std::string& name = tensor.name;
  if (name.ends_with("q_proj.weight")) return expect({q, c});
  if (name.ends_with("k_proj.weight") || name.ends_with("v_proj.weight")) return expect({kv, c});
  if (name.ends_with("o_proj.weight")) return expect({c, q});
  if (name.ends_with("down_proj.weight")) return expect({c, -1});
  if (name.ends_with("norm.weight")) return expect({c});
  expect({-1, c});
}

void MetaCheckpoint::make_config() {
  const TensorInfo *embedding = find("model.embed_tokens.weight"), *gate = find("model.layers.0.mlp.gate_proj.weight");
  check_file(embedding != nullptr && gate != nullptr, FileFault::layout, path_,
             "tok_embeddings.weight or layers.0.feed_forward.w1.weight is missing");
  config_ =
      make_meta_config(params_, embedding->shape[0], gate->shape[0], find("lm_head.weight") == nullptr, gate->dtype);
}

// Meta rotates neighbours (2i, 2i + 1) of a head, Hugging Face (i, i + D/2): row j * D/2 + i comes from row 2i + j.
int64_t MetaCheckpoint::source_row(const Source& source, int64_t row, int64_t rows) const {
  if (source.rotary_heads == 0) return row;
  const int64_t width = rows / source.rotary_heads, half = width / 2;  // D
  const int64_t head = row / width, in_head = row % width;
  return head * width + 2 * (in_head % half) + in_head / half;
}

TensorBytes MetaCheckpoint::read(std::string_view name) const {
  const auto it = sources_.find(std::string(name));
  caravan::check(it != sources_.end(), ErrorCode::not_found, "{}: no tensor '{}'", path_, name);
  const Source& source = it->second;
  std::vector<TensorBytes> parts;
  for (size_t i = 0; i < source.parts.size(); ++i) parts.push_back(shards_[i]->read(*source.parts[i]));
  if (parts.size() == 1 && source.rotary_heads == 0) return parts[0];
  const TensorInfo& info = *find(name);
  const auto total = static_cast<size_t>(tensor_bytes(info.dtype, info.shape, path_));
  auto whole = std::make_shared<std::vector<std::byte>>(total);
  if (total == 0) return {};
  const int64_t rows = info.shape[0], part_rows = source.parts[0]->info.shape[0];
  const size_t row_bytes = total / static_cast<size_t>(rows);
  const size_t part_row_bytes = source.split == Split::columns ? row_bytes / parts.size() : row_bytes;
  std::byte* to = whole->data();
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t from = source_row(source, row, rows);
    const size_t first = source.split == Split::rows ? static_cast<size_t>(from / part_rows) : 0;
    const size_t last = source.split == Split::rows ? first : parts.size() - 1;
    for (size_t part = first; part <= last; ++part, to += part_row_bytes) {
      std::memcpy(to, parts[part].bytes.data() + static_cast<size_t>(from % part_rows) * part_row_bytes,
                  part_row_bytes);
    }
  }
  return {*whole, whole};
}

}  // namespace

bool looks_like_meta(const Location& at) { return at.is_folder && at.has("params.json") && at.has(shard_file(0)); }

std::unique_ptr<Checkpoint> open_meta(const Location& at) { return std::make_unique<MetaCheckpoint>(at); }

}  // namespace caravan::formats
