// Index files: read, compared with what the shards hold, planned and written.
#include "caravan/formats/shards.h"

#include <algorithm>
#include <map>

#include "caravan/base/checked.h"
#include "caravan/base/file.h"

namespace caravan::formats {
namespace {

// "a, b, c and 7 more"
std::string first_names(const std::vector<std::string_view>& names) {
  constexpr size_t kShown = 8;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i) text.append(i == 0 ? "" : ", ").append(names[i]);
  if (names.size() > kShown) text += fmt::format(" and {} more", names.size() - kShown);
  return text;
}

}  // namespace

ShardIndex read_shard_index(const std::string& path) {
  const Json json = parse_json(read_file(path, 1 << 28), path, {.depth = 16});
  const Json* map = find_member(json, "weight_map");
  check_file(map != nullptr && map->is_object(), FileFault::type, path, "\"weight_map\" must be an object");
  std::map<std::string, size_t> files;
  for (const auto& [tensor, file] : map->items()) {
    check_file(file.is_string(), FileFault::type, path, "the file of tensor '{}' must be a string", tensor);
    const auto& name = file.get_ref<const std::string&>();
    check_plain_name(name, path);
    files.emplace(name, 0);
  }
  constexpr size_t kMaxFiles = 10'000;
  check_file(files.size() <= kMaxFiles, FileFault::limit, path, "{} shards, at most {} are read", files.size(),
             kMaxFiles);
  ShardIndex index;
  for (auto& [name, position] : files) {
    position = index.files.size();
    index.files.push_back(name);
  }
  for (const auto& [tensor, file] : map->items())
    index.file_of.emplace(tensor, files[file.get_ref<const std::string&>()]);
  return index;
}

void check_shards(const ShardIndex& index, const std::vector<std::vector<std::string_view>>& names,
                  std::string_view where) {
  std::unordered_map<std::string_view, size_t> found;
  std::vector<std::string_view> unlisted, misplaced, missing;
  for (size_t i = 0; i < names.size(); ++i) {
    for (const std::string_view name : names[i]) {
      const auto [it, is_new] = found.emplace(name, i);
      check_file(is_new, FileFault::duplicate, where, "tensor '{}' is in {} and in {}", name, index.files[it->second],
                 index.files[i]);
      const auto listed = index.file_of.find(std::string(name));
      if (listed == index.file_of.end()) unlisted.push_back(name);
      if (listed != index.file_of.end() && listed->second != i) misplaced.push_back(name);
    }
  }
  for (const auto& [name, file] : index.file_of) {
    if (!found.contains(name)) missing.push_back(name);
  }
  if (missing.empty() && unlisted.empty() && misplaced.empty()) return;
  std::sort(missing.begin(), missing.end());
  std::string problem;
  if (!missing.empty())
    problem += fmt::format("; {} tensors are in no shard: {}", missing.size(), first_names(missing));
  if (!unlisted.empty())
    problem += fmt::format("; {} tensors are not in the index: {}", unlisted.size(), first_names(unlisted));
  if (!misplaced.empty())
    problem += fmt::format("; {} tensors are in another shard: {}", misplaced.size(), first_names(misplaced));
  fail_file(FileFault::layout, where, "the index and the shards disagree{}", problem);
}

void open_files(const Location& at, std::string_view single, std::string_view index_name,
                const std::function<std::vector<std::string>(const std::string& path)>& open) {
  const bool is_index = !at.is_folder && at.path.ends_with(index_name.substr(index_name.find('.')));
  if (!is_index && (!at.is_folder || at.has(single))) {
    open(at.is_folder ? at.in_folder(single) : at.path);
    return;
  }
  const std::string index_path = is_index ? at.path : at.in_folder(index_name);
  const ShardIndex index = read_shard_index(index_path);
  std::vector<std::vector<std::string>> names;
  for (const std::string& file : index.files) {
    const std::string path = at.in_folder(file);
    check(file_exists(path), ErrorCode::not_found, "{}: the shard '{}' is missing", index_path, file);
    names.push_back(open(path));
  }
  std::vector<std::vector<std::string_view>> views;
  for (const auto& list : names) views.emplace_back(list.begin(), list.end());
  check_shards(index, views, index_path);
}

ShardPlan plan_shards(std::vector<TensorInfo> plan, int64_t max_bytes) {
  check(max_bytes > 0, ErrorCode::invalid_argument, "max_shard_bytes must be positive, got {}", max_bytes);
  ShardPlan result{.shards = {{}}};
  int64_t filled = 0;
  for (TensorInfo& tensor : plan) {
    const int64_t bytes = tensor_bytes(tensor.dtype, tensor.shape, tensor.name);
    result.total_bytes = checked_add<int64_t>(result.total_bytes, bytes, tensor.name);
    result.total_parameters =
        checked_add<int64_t>(result.total_parameters, checked_numel(tensor.shape, tensor.name), tensor.name);
    if (!result.shards.back().empty() && bytes > max_bytes - filled) {
      result.shards.emplace_back();
      filled = 0;
    }
    filled += std::min(bytes, max_bytes);
    result.shards.back().push_back(std::move(tensor));
  }
  return result;
}

std::string shard_name(std::string_view stem, std::string_view extension, size_t i, size_t count) {
  if (count == 1) return fmt::format("{}.{}", stem, extension);
  return fmt::format("{}-{:05}-of-{:05}.{}", stem, i + 1, count, extension);
}

Json make_shard_index(const ShardPlan& plan, std::string_view stem, std::string_view extension) {
  std::map<std::string_view, std::string> files;  // sorted by tensor name, as transformers writes it
  for (size_t i = 0; i < plan.shards.size(); ++i) {
    for (const TensorInfo& tensor : plan.shards[i])
      files[tensor.name] = shard_name(stem, extension, i, plan.shards.size());
  }
  Json map = Json::object();
  for (auto& [tensor, file] : files) map.get_ref<Json::object_t&>().emplace_back(std::string(tensor), std::move(file));
  return {{"metadata", {{"total_parameters", plan.total_parameters}, {"total_size", plan.total_bytes}}},
          {"weight_map", std::move(map)}};
}

}  // namespace caravan::formats
