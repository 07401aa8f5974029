// Hugging Face folders, around any file format.
#include "caravan/formats/folder_writer.h"

#include <algorithm>
#include <unordered_set>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/formats/shards.h"

namespace caravan::formats {
namespace {

class FolderWriter final : public CheckpointWriter {
 public:
  FolderWriter(const std::string& path, std::vector<TensorInfo> plan, const Json& config, const WriteOptions& options,
               const FolderFormat& format)
      : format_(format),
        config_(config),
        side_files_(options.side_files),
        cursor_(plan),
        shards_(plan_shards(std::move(plan),
                            format.sharded ? options.max_shard_bytes : std::numeric_limits<int64_t>::max())),
        folder_(path, is_checkpoint_file) {
    for (const auto& [name, text] : side_files_) check_plain_name(name, path);
    open_shard();
  }

  void write(std::string_view name, std::span<const std::byte> bytes) override {
    const TensorInfo& tensor = cursor_.take(name, bytes.size());
    if (in_shard_ == shards_.shards[shard_].size()) next_shard();
    file_->write(tensor, bytes);
    ++in_shard_;
  }

  void finish() override {
    cursor_.check_finished();
    file_->commit();
    file_.reset();
    if (shards_.shards.size() > 1) {
      const std::string name = fmt::format("{}.{}.index.json", format_.stem, format_.extension);
      write_text(name, dump_json(make_shard_index(shards_, format_.stem, format_.extension)) + "\n");
    }
    if (!config_.empty()) write_text("config.json", dump_json(config_) + "\n");
    for (const auto& [name, text] : side_files_) write_text(name, text);
    folder_.commit();
  }

 private:
  std::string in_folder(std::string_view name) const { return fmt::format("{}/{}", folder_.path(), name); }
  void write_text(std::string_view name, std::string_view text) { write_file(in_folder(name), text); }
  void open_shard() {
    const std::string name = shard_name(format_.stem, format_.extension, shard_, shards_.shards.size());
    file_ = format_.open(in_folder(name), shards_.shards[shard_]);
    in_shard_ = 0;
  }
  void next_shard() {
    file_->commit();
    ++shard_;
    open_shard();
  }

  FolderFormat format_;
  Json config_;
  std::map<std::string, std::string> side_files_;
  PlanCursor cursor_;
  ShardPlan shards_;
  AtomicFolder folder_;  // before file_: an unfinished file goes first
  std::unique_ptr<TensorFile> file_;
  size_t shard_ = 0, in_shard_ = 0;
};

}  // namespace

std::unique_ptr<CheckpointWriter> create_folder(const std::string& path, std::vector<TensorInfo> plan,
                                                const Json& config, const WriteOptions& options,
                                                const FolderFormat& format) {
  for (const TensorInfo& tensor : plan) {
    check(format.holds(tensor.dtype), ErrorCode::unsupported,
          "{} files cannot hold {} (tensor '{}'): choose another dtype", format.extension, to_string(tensor.dtype),
          tensor.name);
  }
  return std::make_unique<FolderWriter>(path, std::move(plan), config, options, format);
}

PlanCursor::PlanCursor(std::vector<TensorInfo> plan) : plan_(std::move(plan)) {
  std::unordered_set<std::string_view> names;
  for (const TensorInfo& tensor : plan_) {
    check(!tensor.name.empty(), ErrorCode::invalid_argument, "a tensor of the plan has no name");
    check(names.insert(tensor.name).second, ErrorCode::invalid_argument, "tensor '{}' is planned twice", tensor.name);
  }
}

const TensorInfo& PlanCursor::take(std::string_view name, size_t bytes) {
  check(next_ < plan_.size(), ErrorCode::invalid_argument, "tensor '{}' comes after the last one of the plan", name);
  const TensorInfo& tensor = plan_[next_];
  check(tensor.name == name, ErrorCode::invalid_argument, "tensor '{}' was written where the plan has '{}'", name,
        tensor.name);
  const int64_t expected = tensor_bytes(tensor.dtype, tensor.shape, tensor.name);
  check(static_cast<uint64_t>(expected) == bytes, ErrorCode::invalid_argument,
        "tensor '{}' has {} bytes, planned were {}", name, bytes, expected);
  ++next_;
  return tensor;
}

void PlanCursor::check_finished() const {
  check(next_ == plan_.size(), ErrorCode::invalid_argument,
        "{} of {} planned tensors were not written, '{}' is the next", plan_.size() - next_, plan_.size(),
        next_ < plan_.size() ? plan_[next_].name : "");
}

bool is_checkpoint_file(const std::string& name) {
  static constexpr std::string_view kEndings[] = {".safetensors", ".bin", ".msgpack", ".index.json",
                                                  ".gguf",        ".pth", ".model",   ".jinja"};
  static constexpr std::string_view kStarts[] = {"config.json",       "generation_config.json",
                                                 "tokenizer",         "special_tokens_map.json",
                                                 "added_tokens.json", "vocab.",
                                                 "merges.txt",        "params.json",
                                                 "chat_template",     "preprocessor_config.json",
                                                 "items.jsonl",       "codes.json"};
  return std::any_of(std::begin(kEndings), std::end(kEndings), [&](std::string_view s) { return name.ends_with(s); }) ||
         std::any_of(std::begin(kStarts), std::end(kStarts), [&](std::string_view s) { return name.starts_with(s); });
}

}  // namespace caravan::formats
