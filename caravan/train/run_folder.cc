#include "caravan/train/run_folder.h"

#include <algorithm>
#include <filesystem>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/formats/folder_writer.h"
#include "caravan/train/checkpoint.h"
#include "caravan/train/tensorboard.h"

namespace caravan::train {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kModels[] = {"final", "best"};
constexpr std::string_view kFiles[] = {"metrics.jsonl", "report.html", "config.toml"};
constexpr std::string_view kCheckpoints = "checkpoints", kEvents = "tensorboard";

std::string in(const std::string& folder, std::string_view name) { return fmt::format("{}/{}", folder, name); }

std::vector<std::string> names_in(const std::string& folder) {
  if (!is_folder(folder)) return {};
  return list_folder(folder).value_or(std::vector<std::string>{});
}

void remove(const std::string& path) {
  std::error_code error;
  fs::remove(path, error);
  check(!error, ErrorCode::internal, "{}: an earlier run's, and cannot be removed: {}", path, error.message());
}

void remove_if_empty(const std::string& folder) {
  if (is_folder(folder) && names_in(folder).empty()) remove(folder);
}

// What a model's folder holds, all of it written by a run.
std::vector<std::string> model_files(const std::string& folder) {
  std::vector<std::string> names = names_in(folder);
  for (const std::string& name : names) {
    check(formats::is_checkpoint_file(name) && !is_folder(in(folder, name)), ErrorCode::invalid_argument,
          "{} holds '{}', which no run wrote and --overwrite would lose: move it, or name another --output", folder,
          name);
  }
  return names;
}

bool lies_in(const std::string& path, const std::string& folder) {
  std::error_code ignored;
  const fs::path inner = fs::weakly_canonical(path, ignored), outer = fs::weakly_canonical(folder, ignored);
  return !outer.empty() && std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

}  // namespace

std::unique_ptr<const FileLock> lock_run_folder(const std::string& folder) {
  fs::create_directories(folder);
  try {
    return std::make_unique<const FileLock>(in(folder, "run.lock"));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::busy) throw;
    fail(ErrorCode::busy, "{}: another training writes there ({}): wait until it has ended, or name another --output",
         folder, error.what());
  }
}

bool holds_run(const std::string& folder) {
  return !names_in(in(folder, kCheckpoints)).empty() ||
         std::any_of(std::begin(kModels), std::end(kModels),
                     [&](std::string_view name) { return !names_in(in(folder, name)).empty(); });
}

void remove_run(const std::string& folder, const std::vector<NamedPath>& inputs) {
  std::vector<std::string> folders = {in(folder, kCheckpoints)};
  for (const std::string_view name : kModels) folders.push_back(in(folder, name));
  for (const auto& [setting, path] : inputs) {
    const bool goes =
        !path.empty() && std::any_of(folders.begin(), folders.end(), [&](auto& f) { return lies_in(path, f); });
    check(!goes, ErrorCode::invalid_argument,
          "{} = \"{}\" belongs to the run that --overwrite removes: name another --output", setting, path);
  }
  std::vector<std::string> doomed;
  for (const std::string_view model : kModels) {
    for (const std::string& name : model_files(in(folder, model))) doomed.push_back(in(in(folder, model), name));
  }
  for (const std::string& path : doomed) remove(path);
  remove_checkpoints(in(folder, kCheckpoints));
  remove_events(in(folder, kEvents));
  for (const std::string& path : folders) remove_if_empty(path);
  remove_if_empty(in(folder, kEvents));
  for (const std::string_view name : kFiles) remove(in(folder, name));
}

}  // namespace caravan::train
