// A line on the terminal that says how far a long job is: percent, rate, time left. Silent where stderr is no terminal.
//
//   Progress progress("converting", total_bytes, !quiet);
//   progress.update(done_bytes, "model.layers.3.mlp.up_proj.weight");
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace caravan::cli {

class Progress {
 public:
  // What is counted is bytes, or, where `unit` says so, something else ("users").
  Progress(std::string what, uint64_t total, bool shown, std::string unit = {});
  ~Progress();  // clears the line
  Progress(const Progress&) = delete;
  void update(uint64_t done, std::string_view detail = {});
  double seconds() const;

 private:
  std::string what_, unit_;
  uint64_t total_;
  bool shown_, drawn_ = false;
  std::chrono::steady_clock::time_point start_, last_;
};

// "3 s", "2 min 05 s", "1 h 10 min"
std::string human_seconds(double seconds);

}  // namespace caravan::cli
