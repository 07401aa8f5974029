// A file system whose k-th call goes wrong, and the loop over k. Tests only.
//
//   for_every_fault([&] { write_file(path, "new"); }, [&](bool succeeded) { EXPECT_TRUE(old_or_new(path)); });
//
// After SQLite's I/O error tests: the operation must end in success or in caravan::Error, whichever call fails.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <string_view>

#include "caravan/base/error.h"
#include "caravan/base/file.h"

namespace caravan {

struct Fault {
  std::string_view name;
  int error = 0;              // what the call returns, negated; 0: it transfers only a part
  bool for_ever = false;      // all later calls fail too
  bool dies = false;          // the process ends instead
  bool must_succeed = false;  // signals and short transfers are nobody's business
};

inline constexpr Fault kFaults[] = {
    {.name = "EIO", .error = EIO},
    {.name = "ENOSPC", .error = ENOSPC},
    {.name = "EIO for ever", .error = EIO, .for_ever = true},
    {.name = "EINTR", .error = EINTR, .must_succeed = true},
    {.name = "short", .error = 0, .must_succeed = true},
};

class FaultyFileSystem final : public FileSystem {
 public:
  FaultyFileSystem(int64_t k, Fault fault) : k_(k), fault_(fault) {}
  bool was_reached() const { return calls_ > k_; }

  int open(const char* path, int flags, int mode) override {
    return fails() ? -fault_.error : FileSystem::open(path, flags, mode);
  }
  int close(int fd) override {
    const bool fail = fails();
    const int result = FileSystem::close(fd);  // a failed close frees the descriptor all the same
    return fail ? -fault_.error : result;
  }
  int64_t size(int fd) override { return fails() ? -fault_.error : FileSystem::size(fd); }
  int64_t read_at(int fd, void* to, size_t n, uint64_t offset) override {
    const bool fail = fails(true);
    return fail && fault_.error != 0 ? -fault_.error : FileSystem::read_at(fd, to, fail ? part(n) : n, offset);
  }
  int64_t write_at(int fd, const void* from, size_t n, uint64_t offset) override {
    const bool fail = fails(true);
    return fail && fault_.error != 0 ? -fault_.error : FileSystem::write_at(fd, from, fail ? part(n) : n, offset);
  }
  int sync(int) override { return fails() ? -fault_.error : 0; }  // not done: nothing here survives a power cut anyway
  int rename(const char* from, const char* to) override {
    return fails() ? -fault_.error : FileSystem::rename(from, to);
  }
  int rename_new(const char* from, const char* to) override {
    return fails() ? -fault_.error : FileSystem::rename_new(from, to);
  }
  int exchange(const char* a, const char* b) override { return fails() ? -fault_.error : FileSystem::exchange(a, b); }
  int remove(const char* path) override { return fails() ? -fault_.error : FileSystem::remove(path); }
  int make_folder(const char* path) override { return fails() ? -fault_.error : FileSystem::make_folder(path); }
  int list(const char* path, std::vector<std::string>* names) override {
    return fails() ? -fault_.error : FileSystem::list(path, names);
  }
  void* map(int fd, size_t n, int* error) override {
    if (fault_.error == EINTR || !fails()) return FileSystem::map(fd, n, error);  // mmap knows no EINTR
    *error = fault_.error;
    return nullptr;
  }

 private:
  bool fails(bool can_be_short = false) {
    const int64_t call = calls_++;
    const bool now = fault_.for_ever ? call >= k_ : call == k_;
    if (now && fault_.dies) ::_exit(0);
    return now && (fault_.error != 0 || can_be_short);
  }
  static size_t part(size_t n) { return std::max<size_t>(1, n / 2); }

  int64_t k_, calls_ = 0;
  Fault fault_;
};

// Runs `operation` with each call failing in each way; `after(succeeded)` looks at what is left. Returns the runs.
template <class Operation, class After>
int for_every_fault(Operation operation, After after) {
  int runs = 0;
  for (const Fault& fault : kFaults) {
    for (int64_t k = 0;; ++k, ++runs) {
      FaultyFileSystem faulty(k, fault);
      bool succeeded = false;
      {
        const ScopedFileSystem scope(faulty);
        try {
          operation();
          succeeded = true;
        } catch (const Error& e) {
          EXPECT_FALSE(fault.must_succeed) << fault.name << " at call " << k << ": " << e.what();
        }
      }
      SCOPED_TRACE(std::string(fault.name) + " at call " + std::to_string(k));
      after(succeeded);
      if (!faulty.was_reached()) {
        EXPECT_TRUE(succeeded);
        break;
      }
    }
  }
  return runs;
}

// The same with a process that ends at the call, as after kill -9: what a reader finds then.
template <class Operation, class After>
int for_every_death(Operation operation, After after) {
  for (int64_t k = 0;; ++k) {
    const pid_t child = ::fork();
    if (child == 0) {
      FaultyFileSystem faulty(k, {.name = "death", .dies = true});
      const ScopedFileSystem scope(faulty);
      operation();
      ::_exit(17);  // it made fewer calls
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    SCOPED_TRACE("killed at call " + std::to_string(k));
    after();
    if (WIFEXITED(status) && WEXITSTATUS(status) == 17) return static_cast<int>(k);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    if (!WIFEXITED(status)) return static_cast<int>(k);
  }
}

}  // namespace caravan
