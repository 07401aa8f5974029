// System calls behind one replaceable object; files and folders that appear at once; maps that survive truncation.
// Interrupted calls (EINTR) are repeated. A failed fsync is final: the kernel may have dropped the pages that it could
// not write, so a second call that succeeds proves nothing.
#include "caravan/base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <set>

#include "caravan/base/error.h"
#include "caravan/base/mapping.h"

namespace caravan {
namespace {

FileSystem real_file_system;
FileSystem* current_file_system = &real_file_system;

int64_t or_errno(int64_t result) { return result < 0 ? -static_cast<int64_t>(errno) : result; }

[[noreturn]] void throw_system_error(std::string_view what, std::string_view path, int error) {
  if (error == ENOENT || error == ENOTDIR) fail(ErrorCode::not_found, "{}: no such file or folder", path);
  if (error == ENOMEM) fail(ErrorCode::out_of_memory, "{}: cannot {}: out of memory", path, what);
  constexpr int kWrongPath[] = {EISDIR, ESPIPE, ENAMETOOLONG, ELOOP, ENXIO};
  const bool is_wrong_path = std::find(std::begin(kWrongPath), std::end(kWrongPath), error) != std::end(kWrongPath);
  const bool is_device = error == ESPIPE || error == ENXIO;  // size() and open() say so of pipes, devices and sockets
  const bool is_full = error == ENOSPC || error == EDQUOT;
  throw Error(
      is_wrong_path ? ErrorCode::invalid_argument : ErrorCode::internal,
      fmt::format("{}: cannot {}: {}{}", path, what,
                  is_device ? "a regular file is needed, this is a pipe, a device or a socket" : std::strerror(error),
                  is_full ? ": free some space there, or write elsewhere" : ""),
      FileFault::io);
}

int64_t check_call(int64_t result, std::string_view what, std::string_view path) {
  if (result < 0) throw_system_error(what, path, static_cast<int>(-result));
  return result;
}

// Repeats a call that a signal interrupted.
template <class Call>
auto uninterrupted(Call call) {
  auto result = call();
  while (result == -EINTR) result = call();
  return result;
}

// --- mapped files that shrink ------------------------------------------------------------------------------------
// The kernel raises SIGBUS when a page beyond the file's new end is touched. The handler puts zero pages there and
// marks the mapping; only async-signal-safe calls are used. A slot is an empty range whenever it is not filled in.
struct MappingSlot {
  std::atomic<bool> used{false};
  std::atomic<uintptr_t> begin{0}, end{0};
  std::atomic<bool> truncated{false};
};
constexpr int kSlots = 4096;
MappingSlot mapping_slots[kSlots];
uintptr_t page_mask;
struct sigaction previous_sigbus;

void on_sigbus(int signal, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  for (MappingSlot& slot : mapping_slots) {
    const uintptr_t end = slot.end.load(std::memory_order_acquire), begin = slot.begin.load(std::memory_order_acquire);
    if (address < begin || address >= end) continue;
    const uintptr_t page = address & page_mask;
    void* zeros =
        mmap(reinterpret_cast<void*>(page), end - page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (zeros == MAP_FAILED) break;
    slot.truncated.store(true, std::memory_order_release);
    errno = saved_errno;
    return;
  }
  if (previous_sigbus.sa_flags & SA_SIGINFO) {
    previous_sigbus.sa_sigaction(signal, info, context);
  } else {
    sigaction(SIGBUS, &previous_sigbus, nullptr);  // not ours: returning repeats the access under the old handler
  }
}

void install_sigbus_handler() {
  page_mask = ~(static_cast<uintptr_t>(sysconf(_SC_PAGESIZE)) - 1);
  struct sigaction action {};
  action.sa_sigaction = on_sigbus;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, &previous_sigbus);
}

int claim_slot(uintptr_t begin, uintptr_t end) {
  static std::once_flag installed;
  std::call_once(installed, install_sigbus_handler);
  for (int i = 0; i < kSlots; ++i) {
    if (mapping_slots[i].used.exchange(true)) continue;
    mapping_slots[i].truncated = false;
    mapping_slots[i].begin = begin;  // the range is empty until `end` is set
    mapping_slots[i].end = end;
    return i;
  }
  return -1;
}

void release_slot(int i) {
  mapping_slots[i].end = 0;  // `begin` stays: 0 beside an end that the handler has just read would be all of memory
  mapping_slots[i].used = false;
}

// --- names ---------------------------------------------------------------------------------------------------------
constexpr std::string_view kTemporary = ".tmp-";

// Temporary names carry host and process, so that a later run can tell what a dead one left behind.
std::string host_tag() {
  char name[256] = {};
  ::gethostname(name, sizeof name - 1);
  return fmt::format("{:08x}", static_cast<uint32_t>(std::hash<std::string_view>{}(name)));
}

std::string temporary_name(const std::string& path) {
  static std::atomic<unsigned> counter{0};
  return fmt::format("{}{}{}-{}-{}", path, kTemporary, host_tag(), getpid(), counter++);
}

// Whether "NAME.tmp-HOST-PID-N" was made on this host by a process that is no more.
bool is_abandoned(const std::string& name, const std::string& host) {
  const size_t at = name.rfind(kTemporary);
  if (at == std::string::npos) return false;
  unsigned pid = 0, number = 0;
  int end = 0;
  const std::string tail = name.substr(at + kTemporary.size());
  if (!tail.starts_with(host + "-")) return false;
  if (std::sscanf(tail.c_str() + host.size(), "-%u-%u%n", &pid, &number, &end) != 2 || pid == 0) return false;
  return host.size() + static_cast<size_t>(end) == tail.size() && ::kill(static_cast<pid_t>(pid), 0) != 0 &&
         errno == ESRCH;
}

// Removes what killed processes left in a folder that is about to be written to; once per process and folder.
void sweep(const std::string& folder) {
  if (folder.find(kTemporary) != std::string::npos) return;  // ours, and new
  static std::mutex mutex;
  static std::set<std::string> swept;
  const std::lock_guard lock(mutex);
  if (!swept.insert(folder).second) return;
  std::vector<std::string> names;
  if (file_system().list(folder.c_str(), &names) != 0) return;
  for (const std::string& name : names) {
    std::error_code ignored;
    if (is_abandoned(name, host_tag())) std::filesystem::remove_all(std::filesystem::path(folder) / name, ignored);
  }
}

// Reads one byte of each page. The kernel answers EFAULT when it meets a page of a truncated map; touched from here,
// such a page becomes zeros (see on_sigbus), and the map's check() reports it.
void touch_pages(const std::byte* data, size_t n) {
  constexpr size_t kPage = 4096;
  const volatile std::byte* bytes = data;
  for (size_t i = 0; i < n; i += kPage) static_cast<void>(bytes[i]);
  if (n > 0) static_cast<void>(bytes[n - 1]);
}

std::string folder_of(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

void sync_folder(const std::string& folder) {
  FileSystem& fs = file_system();
  const int fd = uninterrupted([&] { return fs.open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0); });
  check_call(fd, "open", folder);
  const int result = uninterrupted([&] { return fs.sync(fd); });
  fs.close(fd);
  if (result != -EINVAL) check_call(result, "flush", folder);  // some file systems cannot flush a folder
}

// Where a file or folder of this name really goes: what a symbolic link points to is replaced, not the link. Only what
// can be replaced without harm passes: renaming over /dev/null or a named pipe would take it from everybody else.
std::string write_target(std::string path) {
  constexpr int kMostLinks = 40;  // as the kernel has it
  struct stat status {};
  for (int links = 0; ::lstat(path.c_str(), &status) == 0; ++links) {
    if (!S_ISLNK(status.st_mode)) {
      check(S_ISREG(status.st_mode) || S_ISDIR(status.st_mode), ErrorCode::invalid_argument,
            "{}: this is a pipe, a device or a socket, which a new file would replace: write to a file", path);
      return path;
    }
    if (links == kMostLinks) throw_system_error("write", path, ELOOP);
    std::string to(PATH_MAX, '\0');
    const ssize_t n = ::readlink(path.c_str(), to.data(), to.size());
    check_call(or_errno(n), "read the link", path);
    to.resize(static_cast<size_t>(n));
    if (to.starts_with("pipe:") || to.starts_with("socket:")) throw_system_error("write", path, ESPIPE);  // /proc's
    path = (std::filesystem::path(path).parent_path() / to).string();
  }
  return path;
}

// Gives what is complete its final name, where nothing has that name; file systems that cannot promise this look first.
void rename_new(const std::string& from, const std::string& to) {
  FileSystem& fs = file_system();
  int result = uninterrupted([&] { return fs.rename_new(from.c_str(), to.c_str()); });
  if (result == -EINVAL || result == -ENOSYS) {
    struct stat status {};
    const bool is_free = ::lstat(to.c_str(), &status) != 0 && errno == ENOENT;
    result = is_free ? uninterrupted([&] { return fs.rename(from.c_str(), to.c_str()); }) : -EEXIST;
  }
  check(result != -EEXIST, ErrorCode::invalid_argument,
        "{}: something of this name appeared while it was being written, and was left alone: choose another name", to);
  check_call(result, "rename", to);
}

// Creates something under a temporary name; a missing folder is named as such, not as the temporary file.
int check_create(int result, const std::string& temporary) {
  check(result != -ENOENT, ErrorCode::not_found, "{}: no such folder to write into", folder_of(temporary));
  return static_cast<int>(check_call(result, "create", temporary));
}

std::string without_trailing_slash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

}  // namespace

int FileSystem::open(const char* path, int flags, int mode) {
  return static_cast<int>(or_errno(::open(path, flags, mode)));
}
int FileSystem::close(int fd) { return static_cast<int>(or_errno(::close(fd))); }
int64_t FileSystem::size(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return -errno;
  if (S_ISDIR(status.st_mode)) return -EISDIR;
  return S_ISREG(status.st_mode) ? status.st_size : -ESPIPE;
}
int64_t FileSystem::read_at(int fd, void* to, size_t n, uint64_t offset) {
  return or_errno(::pread(fd, to, n, static_cast<off_t>(offset)));
}
int64_t FileSystem::write_at(int fd, const void* from, size_t n, uint64_t offset) {
  return or_errno(::pwrite(fd, from, n, static_cast<off_t>(offset)));
}
int FileSystem::sync(int fd) { return static_cast<int>(or_errno(::fsync(fd))); }
int FileSystem::rename(const char* from, const char* to) { return static_cast<int>(or_errno(::rename(from, to))); }
int FileSystem::rename_new(const char* from, const char* to) {
  return static_cast<int>(or_errno(::renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE)));
}
int FileSystem::exchange(const char* a, const char* b) {
  return static_cast<int>(or_errno(::renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE)));
}
int FileSystem::remove(const char* path) { return static_cast<int>(or_errno(::remove(path))); }
int FileSystem::make_folder(const char* path) { return static_cast<int>(or_errno(::mkdir(path, 0777))); }
void* FileSystem::map(int fd, size_t n, int* error) {
  void* data = ::mmap(nullptr, n, PROT_READ, MAP_SHARED, fd, 0);
  if (data != MAP_FAILED) return data;
  *error = errno;
  return nullptr;
}

int FileSystem::list(const char* path, std::vector<std::string>* names) {
  DIR* folder = ::opendir(path);
  if (folder == nullptr) return -errno;
  errno = 0;
  while (const dirent* entry = ::readdir(folder)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names->emplace_back(name);
    errno = 0;
  }
  const int error = errno;
  ::closedir(folder);
  return -error;
}

FileSystem& file_system() { return *current_file_system; }

ScopedFileSystem::ScopedFileSystem(FileSystem& replacement) : previous_(current_file_system) {
  current_file_system = &replacement;
}
ScopedFileSystem::~ScopedFileSystem() { current_file_system = previous_; }

void release_pages(std::span<const std::byte> bytes) {
  const auto begin = reinterpret_cast<uintptr_t>(bytes.data()), end = begin + bytes.size();
  for (const MappingSlot& slot : mapping_slots) {
    if (begin < slot.begin || end > slot.end) continue;
    const uintptr_t first = (begin + ~page_mask) & page_mask, last = end & page_mask;  // whole pages inside
    if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
    return;
  }
}

FileReader::FileReader(std::string path) : path_(std::move(path)) {
  FileSystem& fs = file_system();
  // O_NONBLOCK: opening a named pipe must not wait for a writer. It has no effect on regular files.
  const int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
  fd_ = uninterrupted([&] { return fs.open(path_.c_str(), flags, 0); });
  check_call(fd_, "open", path_);
  const int64_t size = uninterrupted([&] { return fs.size(fd_); });
  if (size < 0) {
    fs.close(fd_);
    throw_system_error("read", path_, static_cast<int>(-size));
  }
  size_ = static_cast<uint64_t>(size);
}

FileReader::~FileReader() { file_system().close(fd_); }

void FileReader::read_at(uint64_t offset, std::span<std::byte> to) const {
  check_file(offset <= size_ && to.size() <= size_ - offset, FileFault::truncated, path_,
             "{} bytes wanted at offset {}, the file has {}", to.size(), offset, size_);
  while (!to.empty()) {
    const int64_t n = uninterrupted([&] { return file_system().read_at(fd_, to.data(), to.size(), offset); });
    check_call(n, "read", path_);
    check_file(n > 0, FileFault::truncated, path_, "the file ended at offset {} while it was read", offset);
    to = to.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
}

std::shared_ptr<const MappedFile> MappedFile::open(const std::string& path) {
  return std::shared_ptr<const MappedFile>(new MappedFile(path));
}

MappedFile::MappedFile(const std::string& path) : reader_(path), size_(reader_.size()) {
  if (size_ == 0) return;
  int error = 0;
  data_ = static_cast<const std::byte*>(file_system().map(reader_.fd(), size_, &error));
  if (data_ == nullptr) throw_system_error("map", path, error);
  const auto begin = reinterpret_cast<uintptr_t>(data_);
  slot_ = claim_slot(begin, begin + size_);
}

MappedFile::~MappedFile() {
  if (data_ == nullptr) return;
  if (slot_ >= 0) release_slot(slot_);
  ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::check() const {
  const bool lost_pages = slot_ >= 0 && mapping_slots[slot_].truncated.load(std::memory_order_acquire);
  const int64_t now = uninterrupted([&] { return file_system().size(reader_.fd()); });
  check_call(now, "read", path());
  check_file(!lost_pages && static_cast<uint64_t>(now) >= size_, FileFault::truncated, path(),
             "the file was truncated while it was in use: {} bytes when it was opened, {} now", size_, now);
}

std::string file_target(std::string path) {
  path = write_target(std::move(path));
  struct stat status {};
  check(::lstat(path.c_str(), &status) != 0 || !S_ISDIR(status.st_mode), ErrorCode::invalid_argument,
        "{}: a file is to be written here, but a folder is in the way", path);
  return path;
}

AtomicFile::AtomicFile(std::string path, Existing existing)
    : path_(file_target(std::move(path))), temporary_(temporary_name(path_)), existing_(existing) {
  sweep(folder_of(path_));
  const int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
  fd_ = check_create(uninterrupted([&] { return file_system().open(temporary_.c_str(), flags, 0666); }), temporary_);
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) file_system().close(fd_);
  if (!committed_) file_system().remove(temporary_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  constexpr size_t kBuffer = 1 << 16;
  if (buffer_.size() + bytes.size() > kBuffer) flush_buffer();
  if (bytes.size() >= kBuffer) {
    write_out(bytes.data(), bytes.size(), position_);
  } else {
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  }
  position_ += bytes.size();
}

void AtomicFile::seek(uint64_t position) {
  flush_buffer();
  position_ = position;
}

void AtomicFile::flush_buffer() {  // its bytes end at position_
  write_out(buffer_.data(), buffer_.size(), position_ - buffer_.size());
  buffer_.clear();
}

void AtomicFile::write_out(const std::byte* data, size_t n, uint64_t offset) {
  while (n > 0) {
    const auto write = [&] { return file_system().write_at(fd_, data, n, offset); };
    int64_t written = uninterrupted(write);
    if (written == -EFAULT) {
      touch_pages(data, n);
      written = uninterrupted(write);
    }
    check_call(written, "write", temporary_);
    if (written == 0) throw_system_error("write", temporary_, ENOSPC);
    data += written;
    offset += static_cast<uint64_t>(written);
    n -= static_cast<size_t>(written);
  }
}

void AtomicFile::commit() {
  FileSystem& fs = file_system();
  flush_buffer();
  check_call(uninterrupted([&] { return fs.sync(fd_); }), "flush", temporary_);
  const int closed =
      fs.close(std::exchange(fd_, -1));  // gone in any case; a network file system reports late errors here
  if (closed != -EINTR) check_call(closed, "close", temporary_);
  if (existing_ == Existing::keep) {
    rename_new(temporary_, path_);
  } else {
    rename_over(temporary_, path_);
  }
  committed_ = true;
  sync_folder(folder_of(path_));
}

AtomicFolder::AtomicFolder(std::string path, MayReplace may_replace)
    : final_(write_target(without_trailing_slash(std::move(path)))),
      temporary_(temporary_name(final_)),
      may_replace_(may_replace) {
  sweep(folder_of(final_));
  replacing_ = replaces();
  check_create(uninterrupted([&] { return file_system().make_folder(temporary_.c_str()); }), temporary_);
  temporary_exists_ = true;
}

AtomicFolder::~AtomicFolder() {
  std::error_code ignored;
  if (temporary_exists_) std::filesystem::remove_all(temporary_, ignored);
}

bool AtomicFolder::replaces() const {
  std::vector<std::string> names;
  const int result = uninterrupted([&] {
    names.clear();
    return file_system().list(final_.c_str(), &names);
  });
  if (result == -ENOENT) return false;
  check(result != -ENOTDIR, ErrorCode::invalid_argument, "{}: a folder is to be written here, but a file is in the way",
        final_);
  check_call(result, "list", final_);
  for (const std::string& name : names) {
    check(may_replace_ != nullptr && may_replace_(name), ErrorCode::invalid_argument,
          "{}: the folder exists and holds '{}', which would be lost: choose another name, or remove it first", final_,
          name);
  }
  return true;
}

// For file systems that cannot swap names (NFS, some FUSE): the old folder steps aside under a name that no sweep
// removes, so that whatever happens in between, both are still there.
void AtomicFolder::replace_in_two_steps() {
  FileSystem& fs = file_system();
  const std::string aside = fmt::format("{}.old-{}", final_, getpid());
  rename_over(final_, aside);
  const int result = uninterrupted([&] { return fs.rename(temporary_.c_str(), final_.c_str()); });
  if (result < 0) {
    uninterrupted([&] { return fs.rename(aside.c_str(), final_.c_str()); });
    throw_system_error("rename", final_, -result);
  }
  temporary_ = aside;  // what goes in the end
}

void AtomicFolder::commit() {
  FileSystem& fs = file_system();
  const char *from = temporary_.c_str(), *to = final_.c_str();
  sync_folder(temporary_);
  if (!replacing_ || !replaces()) {
    rename_new(temporary_, final_);
    temporary_exists_ = false;
  } else {
    const int result = uninterrupted([&] { return fs.exchange(from, to); });
    if (result == -EINVAL || result == -ENOSYS) {
      replace_in_two_steps();
    } else {
      check_call(result, "replace", final_);
    }
  }
  sync_folder(folder_of(final_));
}

void rename_over(const std::string& from, const std::string& to) {
  check_call(uninterrupted([&] { return file_system().rename(from.c_str(), to.c_str()); }), "rename", to);
}

std::string read_file(const std::string& path, uint64_t limit) {
  const FileReader reader(path);
  check_file(reader.size() <= limit, FileFault::limit, path, "{} bytes, at most {} are allowed", reader.size(), limit);
  std::string text(reader.size(), '\0');
  reader.read_at(0, std::as_writable_bytes(std::span(text)));
  return text;
}

void write_file(const std::string& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

std::optional<std::vector<std::string>> list_folder(const std::string& path) {
  std::vector<std::string> names;
  const int result = uninterrupted([&] {
    names.clear();
    return file_system().list(path.c_str(), &names);
  });
  if (result == -ENOTDIR && file_exists(path)) return std::nullopt;
  check_call(result, "list", path);
  std::sort(names.begin(), names.end());
  return names;
}

bool is_folder(const std::string& path) {
  FileSystem& fs = file_system();
  const int fd = uninterrupted([&] { return fs.open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0); });
  if (fd == -ENOENT || fd == -ENOTDIR) return false;
  check_call(fd, "open", path);
  fs.close(fd);
  return true;
}

bool file_exists(const std::string& path) {
  FileSystem& fs = file_system();
  const int fd = uninterrupted([&] { return fs.open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0); });
  if (fd == -ENOENT || fd == -ENOTDIR) return false;
  check_call(fd, "open", path);
  const int64_t size = uninterrupted([&] { return fs.size(fd); });
  fs.close(fd);
  return size != -EISDIR;
}

void check_plain_name(std::string_view name, std::string_view where) {
  const bool plain = !name.empty() && name != "." && name != ".." && name.size() <= 255 &&
                     name.find('/') == std::string_view::npos && name.find('\\') == std::string_view::npos &&
                     name.find('\0') == std::string_view::npos;
  check_file(plain, FileFault::path, where, "'{}' is not a plain file name", name);
}

}  // namespace caravan
