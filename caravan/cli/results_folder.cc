#include "caravan/cli/results_folder.h"

#include <algorithm>
#include <filesystem>

#include "caravan/base/error.h"
#include "caravan/cli/items.h"

namespace caravan::cli {
namespace {

std::vector<std::string> missing_folders(const std::string& path) {
  std::vector<std::string> missing;
  for (std::filesystem::path folder = path; !folder.empty() && !is_folder(folder.string());
       folder = folder.parent_path())
    missing.insert(missing.begin(), folder.string());
  return missing;
}

}  // namespace

ResultsFolder::ResultsFolder(const std::string& path, std::string_view lock)
    : path_(path),
      lock_path_(fmt::format("{}/{}", path, lock)),
      made_(missing_folders(path)),
      lock_made_(!file_exists(lock_path_)) {
  make_output_folder(path);
  try {
    lock_ = std::make_unique<const FileLock>(lock_path_);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::busy) throw;
    fail(ErrorCode::busy, "{}: another process writes there ({}): wait until it has ended, or name another folder",
         path, error.what());
  }
  staging_.emplace(lock_path_ + ".files");
}

ResultsFolder::~ResultsFolder() {
  staging_.reset();
  if (committed_) return;
  if (lock_made_ && lock_ != nullptr) file_system().remove(lock_path_.c_str());
  for (auto folder = made_.rbegin(); folder != made_.rend(); ++folder) {
    if (file_system().remove(folder->c_str()) != 0) return;  // not empty: somebody else's
  }
}

void ResultsFolder::commit(std::string_view last) {
  std::vector<std::string> names = list_folder(staging()).value_or(std::vector<std::string>{});
  std::stable_partition(names.begin(), names.end(), [&](const std::string& name) { return name != last; });
  // From here on the files that are there belong to two versions, until the last one says otherwise.
  file_system().remove(fmt::format("{}/{}", path_, last).c_str());
  for (const std::string& name : names) rename_over(staging() + "/" + name, path_ + "/" + name);
  committed_ = true;
}

}  // namespace caravan::cli
