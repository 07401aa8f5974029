// A folder that several files of results go to which belong together: one process at a time writes there, and they
// appear together or not at all.
//
//   ResultsFolder folder("beauty", "codes.lock");           // busy where another process writes there
//   write_file(folder.staging() + "/codes_report.json", report);
//   folder.commit("codes.json");                            // the file that says that all is there
//
// A process that is killed during commit() leaves a folder without that last file. Whoever goes before commit() leaves
// nothing, also no folder that was made here.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/base/file.h"
#include "caravan/base/file_lock.h"

namespace caravan::cli {

class ResultsFolder {
 public:
  // Makes the folder where it is missing, with those above it; invalid_argument where something else has its name.
  ResultsFolder(const std::string& path, std::string_view lock);
  ~ResultsFolder();
  ResultsFolder(const ResultsFolder&) = delete;

  const std::string& staging() const { return staging_->path(); }  // a folder to write the files into
  void commit(std::string_view last);                              // gives them their names, `last` last

 private:
  std::string path_, lock_path_;
  std::vector<std::string> made_;  // folders that were not there, the outermost first
  bool lock_made_, committed_ = false;
  std::unique_ptr<const FileLock> lock_;
  std::optional<AtomicFolder> staging_;  // never committed: what is left in it goes
};

}  // namespace caravan::cli
