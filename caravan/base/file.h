// The one layer under every reader and writer: read, map, write, flush, rename. Tests put a FileSystem in front that
// fails at the k-th call.
//
//   auto map = MappedFile::open("model.safetensors");     // read-only, shared; bytes() is the whole file
//   AtomicFile out("config.json");                        // writes config.json.tmp-HOST-PID-N
//   out.write(text); out.commit();                        // flush, rename; without commit() nothing remains
//
// All functions throw Error: not_found for a missing file, out_of_memory for ENOMEM, corrupt_file (fault truncated) for
// a file shorter than promised, otherwise internal with fault io and the system's words (ENOSPC, EIO ...).
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace caravan {

// System calls, one method each. A method returns a negative errno where the call fails.
class FileSystem {
 public:
  virtual ~FileSystem() = default;
  virtual int open(const char* path, int flags, int mode);
  virtual int close(int fd);
  virtual int64_t size(int fd);  // -EISDIR for a folder, -ESPIPE for what is no regular file
  virtual int64_t read_at(int fd, void* to, size_t n, uint64_t offset);           // may be short
  virtual int64_t write_at(int fd, const void* from, size_t n, uint64_t offset);  // may be short
  virtual int sync(int fd);
  virtual int rename(const char* from, const char* to);
  virtual int rename_new(const char* from, const char* to);  // -EEXIST where `to` exists
  virtual int exchange(const char* a, const char* b);        // swap two names atomically
  virtual int remove(const char* path);                      // a file or an empty folder
  virtual int make_folder(const char* path);
  virtual void* map(int fd, size_t n, int* error);                      // read-only; nullptr on failure
  virtual int list(const char* path, std::vector<std::string>* names);  // of a folder; -ENOTDIR for a file
};

FileSystem& file_system();

// Puts another FileSystem in front for the lifetime of the object (tests; not thread-safe against running I/O).
class ScopedFileSystem {
 public:
  explicit ScopedFileSystem(FileSystem& replacement);
  ~ScopedFileSystem();
  ScopedFileSystem(const ScopedFileSystem&) = delete;

 private:
  FileSystem* previous_;
};

// Positioned reads from a file whose size was taken when it was opened.
class FileReader {
 public:
  explicit FileReader(std::string path);
  ~FileReader();
  FileReader(const FileReader&) = delete;
  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }
  void read_at(uint64_t offset, std::span<std::byte> to) const;  // all of it, or an error
  int fd() const { return fd_; }

 private:
  std::string path_;
  int fd_ = -1;
  uint64_t size_ = 0;
};

// A whole file mapped read-only. If the file is truncated by somebody else while mapped, reads of the lost pages give
// zeros instead of a crash and check() throws from then on: call it after using bytes that matter.
class MappedFile {
 public:
  static std::shared_ptr<const MappedFile> open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return reader_.path(); }
  void check() const;

 private:
  MappedFile(const std::string& path);
  FileReader reader_;  // kept open: check() asks for the size
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  int slot_ = -1;  // in the table that the SIGBUS handler reads; -1 for an empty file
};

// Where a file of this name really goes: a symbolic link keeps its name and gets a new target. Throws invalid_argument
// where something stands there that no file may take the place of: a folder, a pipe, a device, a socket.
std::string file_target(std::string path);

// What becomes of a file that is found under the final name when all is written. `keep`: it stays, and the write fails.
enum class Existing { replace, keep };

// A file that appears under its final name complete or not at all.
class AtomicFile {
 public:
  explicit AtomicFile(std::string path, Existing existing = Existing::replace);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text.data(), text.size()))); }
  uint64_t position() const { return position_; }  // where the next byte goes
  void seek(uint64_t position);                    // to fill in later what is known later; gaps read as zeros
  void commit();                                   // flush to disk, rename, flush the folder

 private:
  void flush_buffer();
  void write_out(const std::byte* data, size_t n, uint64_t offset);
  std::string path_, temporary_;
  Existing existing_;
  int fd_ = -1;
  bool committed_ = false;
  uint64_t position_ = 0;
  std::vector<std::byte> buffer_;
};

// A folder that appears complete or not at all: write files under path(), then commit(). An existing folder of that
// name is replaced in one step, but only if it is empty or may_replace() is true for every name in it: otherwise the
// constructor throws invalid_argument, so that no mistyped path deletes somebody's files. A folder that was not there
// then is never replaced: commit() throws.
class AtomicFolder {
 public:
  using MayReplace = bool (*)(const std::string& name);
  explicit AtomicFolder(std::string path, MayReplace may_replace = nullptr);
  ~AtomicFolder();
  AtomicFolder(const AtomicFolder&) = delete;
  const std::string& path() const { return temporary_; }
  void commit();

 private:
  void replace_in_two_steps();
  bool replaces() const;  // whether there is a folder to replace; throws where it must not be
  std::string final_, temporary_;
  MayReplace may_replace_;
  bool replacing_;                 // there was a folder of that name at the beginning
  bool temporary_exists_ = false;  // after a replacement it is the old folder that goes
};

// Gives a file or folder another name; a file that has this name is replaced. Complete files only: a crash may leave
// the name with what is not on the disk yet.
void rename_over(const std::string& from, const std::string& to);

// The whole file as text; an error where it is larger than `limit` bytes.
std::string read_file(const std::string& path, uint64_t limit = 1ull << 30);
void write_file(const std::string& path, std::string_view text);  // atomic

// Names in a folder, sorted; nullopt where `path` is a file. not_found where it is neither.
std::optional<std::vector<std::string>> list_folder(const std::string& path);
bool is_folder(const std::string& path);    // false where it does not exist
bool file_exists(const std::string& path);  // a regular file that can be opened

// A file name that came from inside another file (a shard name, a zip entry): a plain name without '/', "..", NUL.
// Throws corrupt_file with fault path otherwise.
void check_plain_name(std::string_view name, std::string_view where);

}  // namespace caravan
