#include "caravan/cli/typed_lines.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "caravan/base/error.h"

namespace caravan::cli {
namespace {

constexpr size_t kLongestLine = 1 << 26;

}  // namespace

TypedLines::TypedLines(Interrupt& interrupt) : interrupt_(interrupt), terminal_(isatty(STDIN_FILENO) != 0) {
  if (LineEditor::usable()) editor_ = std::make_unique<LineEditor>(interrupt);
}

LineRead TypedLines::next(std::string_view prompt, std::string& line) {
  return editor_ != nullptr ? editor_->read(prompt, line) : next_plain(prompt, line);
}

void TypedLines::remember(const std::string& entry) {
  if (editor_ != nullptr) editor_->remember(entry);
}

LineRead TypedLines::next_plain(std::string_view prompt, std::string& line) {
  if (terminal_) std::fwrite(prompt.data(), 1, prompt.size(), stderr);
  for (size_t searched = 0;;) {
    if (const size_t end = buffer_.find('\n', searched); end != std::string::npos) {
      line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return LineRead::line;
    }
    searched = buffer_.size();
    check(searched <= kLongestLine, ErrorCode::invalid_argument, "standard input: a line has more than {} bytes",
          kLongestLine);
    if (interrupt_.raised()) {
      interrupt_.clear();
      if (terminal_) std::fputs("\n", stderr);
      return LineRead::interrupted;
    }
    // A signal that comes before read() would not wake it: the interrupt's pipe does.
    pollfd waiting[2] = {{STDIN_FILENO, POLLIN, 0}, {interrupt_.wake_fd(), POLLIN, 0}};
    if (::poll(waiting, 2, -1) > 0 && waiting[0].revents == 0) continue;
    if (interrupt_.raised()) continue;
    char chunk[4096];
    const ssize_t n = ::read(STDIN_FILENO, chunk, sizeof chunk);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      line = std::exchange(buffer_, "");
      return line.empty() ? LineRead::end : LineRead::line;
    }
    buffer_.append(chunk, static_cast<size_t>(n));
  }
}

}  // namespace caravan::cli
