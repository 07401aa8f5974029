// One output per input line, computed in parallel, printed in order, in memory bounded by a batch of lines. Of a file
// that takes several batches the progress is shown, unless the results themselves go to a terminal.
//
//   for_each_line({.path = "-", .threads = 2}, [&](std::string_view line, size_t number, std::string& out) { ... });
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace caravan::cli {

struct LineJob {
  std::string path;                 // "-": standard input
  int threads = 0;                  // 0: all cores
  std::string progress = {};        // what the progress line says is done; empty: none
  size_t batch_bytes = 4ull << 20;  // of input in memory at a time
};

// Appends a line's result to `out`; runs on several threads. The first exception, in line order, stops the job after
// the results of the lines before it were printed.
using LineFunction = std::function<void(std::string_view line, size_t number, std::string& out)>;

void for_each_line(const LineJob& job, const LineFunction& function);

}  // namespace caravan::cli
