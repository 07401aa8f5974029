#include "caravan/train/metrics_log.h"

#include <fcntl.h>

#include <cstring>

#include "caravan/base/error.h"
#include "caravan/base/file.h"

namespace caravan::train {
namespace {

[[noreturn]] void fail_call(std::string_view what, const std::string& path, int64_t result) {
  throw Error(ErrorCode::internal,
              fmt::format("{}: cannot {}: {}", path, what, std::strerror(static_cast<int>(-result))), FileFault::io);
}

}  // namespace

AppendFile::AppendFile(std::string path) : path_(std::move(path)) {
  FileSystem& fs = file_system();
  fd_ = fs.open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) fail_call("open", path_, fd_);
  const int64_t size = fs.size(fd_);
  if (size < 0) {
    fs.close(fd_);
    fail_call("read the size", path_, size);
  }
  size_ = static_cast<uint64_t>(size);
}

AppendFile::~AppendFile() { file_system().close(fd_); }

void AppendFile::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const int64_t n = file_system().write_at(fd_, bytes.data(), bytes.size(), size_);
    if (n == -EINTR) continue;
    if (n <= 0) fail_call("write", path_, n);
    size_ += static_cast<uint64_t>(n);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

void AppendFile::sync() {
  const int result = file_system().sync(fd_);
  if (result < 0) fail_call("flush", path_, result);
}

std::vector<Json> read_metrics(const std::string& path) {
  const std::string text = read_file(path);
  std::vector<Json> rows;
  size_t line = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    if (end == std::string::npos) break;  // cut off while it was written
    rows.push_back(parse_json(std::string_view(text).substr(at, end - at), fmt::format("{}:{}", path, ++line)));
    at = end + 1;
  }
  return rows;
}

std::vector<Json> MetricsLog::begin(const std::string& path, int64_t keep_until_step) {
  std::vector<Json> kept;
  std::string text;
  if (keep_until_step > 0 && file_exists(path)) {
    for (Json& row : read_metrics(path)) {
      if (get_int(row, "step", path) > keep_until_step) break;
      text += row.dump() + "\n";
      kept.push_back(std::move(row));
    }
  }
  write_file(path, text);
  return kept;
}

MetricsLog::MetricsLog(const std::string& path, int64_t keep_until_step)
    : rows_(begin(path, keep_until_step)), file_(path) {}

void MetricsLog::add(const Json& row) {
  file_.write(row.dump() + "\n");
  rows_.push_back(row);
}

}  // namespace caravan::train
