// One process at a time: an advisory lock (flock) on a file, which stays there. The kernel lets go of it when the
// process ends, however it ends.
//
//   const FileLock lock("runs/first/run.lock");     // busy where another process has it
//
// Left out: file systems that know no locks (some network mounts) give none, and nobody is kept out.
#pragma once

#include <string>

namespace caravan {

class FileLock {
 public:
  // Makes the file where it is missing, and writes into it who has the lock. Throws busy, and says who has it.
  explicit FileLock(const std::string& path);
  ~FileLock();
  FileLock(const FileLock&) = delete;

 private:
  int fd_ = -1;
};

}  // namespace caravan
