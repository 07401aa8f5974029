#include "caravan/cli/parallel_lines.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>
#include <vector>

#include "caravan/cli/input.h"
#include "caravan/cli/output.h"
#include "caravan/cli/progress.h"

namespace caravan::cli {
namespace {

constexpr size_t kLinesPerTask = 64;  // results of neighbouring lines share one buffer

struct Task {
  std::string out;
  std::exception_ptr error;
};

void run_task(Task& task, const std::vector<std::string>& lines, size_t index, size_t first_line,
              const LineFunction& function) {
  const size_t end = std::min((index + 1) * kLinesPerTask, lines.size());
  for (size_t i = index * kLinesPerTask; i < end; ++i) {
    const size_t whole = task.out.size();
    try {
      function(lines[i], first_line + i, task.out);
    } catch (...) {
      task.out.resize(whole);
      task.error = std::current_exception();
      return;
    }
  }
}

}  // namespace

void for_each_line(const LineJob& job, const LineFunction& function) {
  LineReader reader(job.path);
  const size_t threads = job.threads > 0 ? job.threads : std::max(1u, std::thread::hardware_concurrency());
  const bool shown = !job.progress.empty() && reader.size() > job.batch_bytes && isatty(STDOUT_FILENO) == 0;
  Progress progress(job.progress, reader.size(), shown);
  std::vector<std::string> lines;
  while (reader.next_batch(lines, job.batch_bytes)) {
    std::vector<Task> tasks((lines.size() + kLinesPerTask - 1) / kLinesPerTask);
    std::atomic<size_t> next = 0;
    const auto work = [&] {
      for (size_t i; (i = next.fetch_add(1)) < tasks.size();)
        run_task(tasks[i], lines, i, reader.first_line(), function);
    };
    {
      std::vector<std::jthread> workers;
      for (size_t i = 1; i < std::min(threads, tasks.size()); ++i) workers.emplace_back(work);
      work();
    }
    for (Task& task : tasks) {
      print(task.out);
      if (task.error != nullptr) std::rethrow_exception(task.error);
    }
    flush_output();
    progress.update(reader.position());
  }
}

}  // namespace caravan::cli
