#include "caravan/cli/input.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "caravan/base/error.h"

namespace caravan::cli {
namespace {

constexpr size_t kLargestInput = 1ull << 30;  // of one line, and of input that is read as a whole

}  // namespace

// Opened here and not as a FileReader: what is read in order may be a pipe, a terminal or /dev/stdin.
InputStream::InputStream(const std::string& path) : name_(path == "-" ? "standard input" : path), fd_(STDIN_FILENO) {
  if (path == "-") return;
  fd_ = file_system().open(path.c_str(), O_RDONLY | O_CLOEXEC, 0);
  check(fd_ != -ENOENT && fd_ != -ENOTDIR, ErrorCode::not_found, "{}: no such file", path);
  check(fd_ >= 0, ErrorCode::invalid_argument, "{}: cannot open: {}", path, std::strerror(-fd_));
  size_ = static_cast<uint64_t>(std::max<int64_t>(file_system().size(fd_), 0));
}

InputStream::~InputStream() {
  if (fd_ != STDIN_FILENO) file_system().close(fd_);
}

size_t InputStream::read(char* to, size_t n) {
  for (;;) {
    const ssize_t got = ::read(fd_, to, n);
    if (got >= 0) offset_ += static_cast<uint64_t>(got);
    if (got >= 0) return static_cast<size_t>(got);
    const bool is_usage = errno == EISDIR || errno == EBADF;  // a folder; a standard input that is closed
    if (errno != EINTR) {
      throw Error(is_usage ? ErrorCode::invalid_argument : ErrorCode::internal,
                  fmt::format("{}: cannot read: {}", name_, std::strerror(errno)), FileFault::io);
    }
  }
}

std::string read_input(const std::string& path) {
  InputStream stream(path);
  std::string text;
  std::vector<char> chunk(1 << 16);
  while (const size_t n = stream.read(chunk.data(), chunk.size())) {
    text.append(chunk.data(), n);
    check(text.size() <= kLargestInput, ErrorCode::invalid_argument, "{}: more than 1 GiB", stream.name());
  }
  return text;
}

std::string read_text(std::string_view option, const std::string& path) {
  std::string text = read_input(path);
  check(text.find_first_not_of(" \t\r\n") != std::string::npos, ErrorCode::invalid_argument,
        "{}: {} is empty: expected a text", option, path == "-" ? "standard input" : path);
  return text;
}

std::string read_prompt(std::string_view option, const std::string& path) {
  std::string text = read_text(option, path);
  drop_byte_order_mark(text);
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  return text;
}

void drop_byte_order_mark(std::string& first_line) {
  constexpr std::string_view kMark = "\xEF\xBB\xBF";
  if (first_line.starts_with(kMark)) first_line.erase(0, kMark.size());
}

bool LineReader::next_batch(std::vector<std::string>& lines, size_t bytes) {
  lines.clear();
  first_line_ = next_line_;
  std::vector<char> chunk(std::max<size_t>(bytes, 1));
  while (lines.empty() && !ended_) {
    const size_t n = stream_.read(chunk.data(), chunk.size());
    ended_ = n == 0;
    std::string_view text(chunk.data(), n);
    for (size_t end; (end = text.find('\n')) != std::string_view::npos; text.remove_prefix(end + 1)) {
      lines.push_back(std::move(rest_.append(text.substr(0, end))));
      rest_.clear();
    }
    rest_.append(text);
    check(rest_.size() <= kLargestInput, ErrorCode::invalid_argument, "{}: line {} has more than 1 GiB", stream_.name(),
          next_line_ + lines.size());
    if (ended_ && !rest_.empty()) lines.push_back(std::move(rest_)), rest_.clear();
  }
  next_line_ = first_line_ + lines.size();
  return !lines.empty();
}

}  // namespace caravan::cli
