#include "caravan/base/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "caravan/base/error.h"
#include "caravan/base/file.h"

namespace caravan {
namespace {

// "process 4711 on atlas"
std::string own_name() {
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  return fmt::format("process {} on {}", getpid(), host.data());
}

std::string read_name(int fd) {
  std::array<char, 300> text{};
  const ssize_t n = ::pread(fd, text.data(), text.size(), 0);
  const std::string name(text.data(), n > 0 ? static_cast<size_t>(n) : 0);
  return name.starts_with("process ") ? name.substr(0, name.find('\n')) : "another process";
}

// For people only: the lock is what counts, so a disk that is full changes nothing.
void write_name(int fd) {
  const std::string name = own_name() + "\n";
  if (::ftruncate(fd, 0) == 0 && ::pwrite(fd, name.data(), name.size(), 0) < 0) return;
}

int try_lock(int fd) {
  int result = 0;
  do {
    result = ::flock(fd, LOCK_EX | LOCK_NB);
  } while (result != 0 && errno == EINTR);
  return result == 0 ? 0 : errno;
}

}  // namespace

FileLock::FileLock(const std::string& path) {
  fd_ = file_system().open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) {
    const bool is_usage = fd_ == -EISDIR || fd_ == -ENOENT;
    throw Error(is_usage ? ErrorCode::invalid_argument : ErrorCode::internal,
                fmt::format("{}: cannot open: {}", path, std::strerror(-fd_)), FileFault::io);
  }
  const int error = try_lock(fd_);
  if (error == 0) write_name(fd_);
  if (error != EWOULDBLOCK) return;  // ours, or no locks on this file system
  const std::string holder = read_name(fd_);
  file_system().close(fd_);
  fail(ErrorCode::busy, "{} holds {}", holder, path);
}

FileLock::~FileLock() { file_system().close(fd_); }

}  // namespace caravan
