#include "caravan/base/lines.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "caravan/base/error.h"

namespace caravan {
namespace {

constexpr size_t kBuffer = 1 << 20;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

}  // namespace

LineReader::LineReader(std::string path, uint64_t max_line_bytes)
    : file_(std::move(path)), max_line_bytes_(max_line_bytes) {
  refill();
  const std::string_view start(buffer_.data(), end_);
  check_file(!start.starts_with("\xFF\xFE") && !start.starts_with("\xFE\xFF"), FileFault::utf8, file_.path(),
             "the file is UTF-16; convert it to UTF-8 first: iconv -f UTF-16 -t UTF-8");
  if (start.starts_with(kByteOrderMark)) at_ = kByteOrderMark.size();
}

bool LineReader::refill() {
  const uint64_t left = file_.size() - (offset_ + end_);
  if (left == 0) return false;
  if (end_ > at_) std::memmove(buffer_.data(), buffer_.data() + at_, end_ - at_);
  offset_ += at_, end_ -= at_, at_ = 0;
  if (buffer_.size() - end_ < kBuffer) buffer_.resize(std::max(buffer_.size() * 2, end_ + kBuffer));
  const size_t n = static_cast<size_t>(std::min<uint64_t>(left, buffer_.size() - end_));
  file_.read_at(offset_ + end_, std::as_writable_bytes(std::span(buffer_.data() + end_, n)));
  end_ += n;
  return true;
}

bool LineReader::next() {
  size_t searched = 0;  // bytes of this line known to hold no line end
  for (;;) {
    const char* from = buffer_.data() + at_;
    const void* found = end_ > at_ + searched ? std::memchr(from + searched, '\n', end_ - at_ - searched) : nullptr;
    if (found == nullptr) {
      searched = end_ - at_;
      check_file(searched <= max_line_bytes_, FileFault::limit, fmt::format("{}:{}", file_.path(), number_ + 1),
                 "the line is longer than {} bytes: is this a text file?", max_line_bytes_);
      if (refill()) continue;
      if (searched == 0) return false;
    }
    from = buffer_.data() + at_;
    size_t length = found == nullptr ? searched : static_cast<size_t>(static_cast<const char*>(found) - from);
    at_ += length + (found == nullptr ? 0 : 1);
    if (length > 0 && from[length - 1] == '\r') --length;
    line_ = {from, length};
    ++number_;
    return true;
  }
}

void LineReader::rewind(Mark mark) {
  offset_ = mark.position, at_ = 0, end_ = 0;
  number_ = mark.number;
}

std::string LineReader::where() const { return fmt::format("{}:{}", file_.path(), number_); }

void read_jsonl(const std::string& path, const std::function<void(const Json& value, size_t line)>& use) {
  LineReader lines(path);
  while (lines.next()) {
    if (lines.line().find_first_not_of(" \t") == std::string_view::npos) continue;
    use(parse_json(lines.line(), lines.where()), lines.number());
  }
}

}  // namespace caravan
