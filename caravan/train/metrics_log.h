// metrics.jsonl: one JSON object a line, each with its "step". A run that resumes keeps the lines up to its checkpoint
// and writes the later ones again.
//
//   MetricsLog log("run/metrics.jsonl", resumed_step);     // 0: starts anew
//   log.add({{"step", 10}, {"loss", 2.5}});
//   log.rows();                                            // all lines so far
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "caravan/base/json.h"

namespace caravan::train {

// A file that grows at its end. What was written survives the process; sync() makes it survive the machine.
class AppendFile {
 public:
  explicit AppendFile(std::string path);  // keeps what is there
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  void write(std::string_view bytes);
  void sync();

 private:
  std::string path_;
  int fd_ = -1;
  uint64_t size_ = 0;
};

class MetricsLog {
 public:
  MetricsLog(const std::string& path, int64_t keep_until_step);
  void add(const Json& row);
  void sync() { file_.sync(); }
  const std::vector<Json>& rows() const { return rows_; }

 private:
  static std::vector<Json> begin(const std::string& path, int64_t keep_until_step);
  std::vector<Json> rows_;
  AppendFile file_;
};

// The rows of a log, without a last line that was cut off.
std::vector<Json> read_metrics(const std::string& path);

}  // namespace caravan::train
