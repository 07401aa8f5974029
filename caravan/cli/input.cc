#include "caravan/cli/input.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "caravan/base/error.h"

namespace caravan::cli {
namespace {

constexpr size_t kLargestInput = 1ull << 30;  // of one line, and of input that is read as a whole

}  // namespace

InputStream::InputStream(const std::string& path) : name_(path == "-" ? "standard input" : path) {
  if (path != "-") file_ = std::make_unique<FileReader>(path);
}

size_t InputStream::read(char* to, size_t n) {
  if (file_ != nullptr) {
    n = static_cast<size_t>(std::min<uint64_t>(n, file_->size() - offset_));
    file_->read_at(offset_, std::as_writable_bytes(std::span(to, n)));
    offset_ += n;
    return n;
  }
  for (;;) {
    const ssize_t got = ::read(STDIN_FILENO, to, n);
    if (got >= 0) return static_cast<size_t>(got);
    if (errno != EINTR) fail(ErrorCode::internal, "reading standard input failed: {}", std::strerror(errno));
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
