#include "caravan/train/checkpoint.h"

#include <algorithm>
#include <filesystem>

#include "caravan/base/crc32c.h"
#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/models/tensor_file.h"

namespace caravan::train {
namespace {

constexpr std::string_view kPrefix = "step-";
constexpr const char* kManifest = "manifest.json";

bool is_checkpoint_name(const std::string& name) {
  return name.starts_with(kPrefix) && name.size() > kPrefix.size() && name.size() < 24 &&
         name.find_first_not_of("0123456789", kPrefix.size()) == std::string::npos;
}

// Names of the files below `folder`, "model/config.json" ..., sorted.
std::vector<std::string> files_below(const std::string& folder, const std::string& prefix = "") {
  std::vector<std::string> files;
  for (const std::string& name : list_folder(folder).value_or(std::vector<std::string>{})) {
    const std::string path = folder + "/" + name;
    if (is_folder(path)) {
      for (const std::string& inner : files_below(path, prefix + name + "/")) files.push_back(inner);
    } else {
      files.push_back(prefix + name);
    }
  }
  return files;
}

// Newest first. Steps have a fixed width until they need more digits, so length goes first.
std::vector<std::string> checkpoint_names(const std::string& folder) {
  std::vector<std::string> names;
  if (!is_folder(folder)) return names;
  for (std::string& name : list_folder(folder).value_or(std::vector<std::string>{})) {
    if (is_checkpoint_name(name)) names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end(), [](const std::string& a, const std::string& b) {
    return a.size() != b.size() ? a.size() > b.size() : a > b;
  });
  return names;
}

void write_manifest(const std::string& folder) {
  Json files = Json::object();
  for (const std::string& name : files_below(folder)) {
    const std::string path = folder + "/" + name;
    files[name] = {{"bytes", FileReader(path).size()}, {"crc32c", crc32c_of_file(path)}};
  }
  write_file(folder + "/" + kManifest, dump_json({{"version", 1}, {"files", files}}));
}

// Without its manifest it is no checkpoint any more, whatever interrupts the rest.
std::error_code remove_checkpoint(const std::string& path) {
  file_system().remove((path + "/" + kManifest).c_str());
  std::error_code error;
  std::filesystem::remove_all(path, error);
  return error;
}

}  // namespace

std::string checkpoint_name(int64_t step) { return fmt::format("{}{:08}", kPrefix, step); }

void save_checkpoint(const std::string& folder, const CheckpointParts& parts,
                     const std::function<void(const std::string& path)>& write_model) {
  std::filesystem::create_directories(folder);
  AtomicFolder target(folder + "/" + checkpoint_name(parts.step), [](const std::string&) { return true; });
  write_model(target.path() + "/model");
  models::write_tensors(target.path() + "/training.safetensors", parts.tensors);
  write_file(target.path() + "/state.json", dump_json(parts.state));
  write_manifest(target.path());
  target.commit();
}

void verify_checkpoint(const std::string& path) {
  const std::string manifest_path = path + "/" + kManifest;
  const Json manifest = parse_json(read_file(manifest_path), manifest_path);
  const Json* files = find_member(manifest, "files");
  check_file(files != nullptr && files->is_object(), FileFault::layout, manifest_path, "\"files\" is expected");
  for (const auto& [name, entry] : files->items()) {
    const std::string file = path + "/" + name;
    const auto bytes = static_cast<uint64_t>(get_int(entry, "bytes", manifest_path, {.min = 0}));
    const auto crc = static_cast<uint32_t>(get_int(entry, "crc32c", manifest_path, {.min = 0, .max = 0xFFFFFFFFll}));
    check_file(FileReader(file).size() == bytes, FileFault::truncated, file, "{} bytes, the manifest says {}",
               FileReader(file).size(), bytes);
    check_file(crc32c_of_file(file) == crc, FileFault::checksum, file,
               "the contents are not what was written (CRC-32C differs)");
  }
}

std::optional<std::string> newest_checkpoint(const std::string& folder,
                                             const std::function<void(const std::string&)>& warn) {
  for (const std::string& name : checkpoint_names(folder)) {
    const std::string path = folder + "/" + name;
    try {
      verify_checkpoint(path);
      return path;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::corrupt_file && error.code() != ErrorCode::not_found) throw;
      warn(fmt::format("the checkpoint {} is damaged and passed over: {}", path, error.what()));
    }
  }
  return std::nullopt;
}

LoadedCheckpoint load_checkpoint(const std::string& path) {
  return {.model = path + "/model",
          .state = parse_json(read_file(path + "/state.json"), path + "/state.json"),
          .tensors = models::read_tensors(path + "/training.safetensors")};
}

void prune_checkpoints(const std::string& folder, int64_t keep) {
  const std::vector<std::string> names = checkpoint_names(folder);
  for (size_t i = static_cast<size_t>(std::max<int64_t>(1, keep)); i < names.size(); ++i)
    remove_checkpoint(folder + "/" + names[i]);
}

void remove_checkpoints(const std::string& folder) {
  for (const std::string& name : checkpoint_names(folder)) {
    const std::string path = folder + "/" + name;
    const std::error_code error = remove_checkpoint(path);
    check(!error, ErrorCode::internal, "{}: an earlier run's, and cannot be removed: {}", path, error.message());
  }
}

}  // namespace caravan::train
