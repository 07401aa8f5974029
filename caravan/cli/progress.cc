#include "caravan/cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "caravan/cli/output.h"

namespace caravan::cli {

Progress::Progress(std::string what, uint64_t total, bool shown, std::string unit)
    : what_(std::move(what)),
      unit_(std::move(unit)),
      total_(total),
      shown_(shown && isatty(STDERR_FILENO) != 0),
      start_(std::chrono::steady_clock::now()),
      last_(start_) {}

Progress::~Progress() {
  if (drawn_) std::fputs("\r\033[K", stderr);
}

double Progress::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

void Progress::update(uint64_t done_units, std::string_view detail) {
  const auto now = std::chrono::steady_clock::now();
  if (!shown_ || (drawn_ && now - last_ < std::chrono::milliseconds(100))) return;
  last_ = now, drawn_ = true;
  const double elapsed = seconds(), done = static_cast<double>(done_units);
  const double fraction = total_ == 0 ? 0.0 : std::min(1.0, done / static_cast<double>(total_));
  std::string line = fmt::format("{} {:.0f} %", what_, 100 * fraction);
  if (elapsed > 0.5 && done > 0) {
    const double rate = done / elapsed;
    const auto whole = static_cast<uint64_t>(rate);
    line += fmt::format("  {}/s  {} left", unit_.empty() ? human_bytes(whole) : human_count(whole) + " " + unit_,
                        human_seconds((static_cast<double>(total_) - done) / rate));
  }
  if (!detail.empty()) line += fmt::format("  {}", detail.substr(0, 60));
  std::fprintf(stderr, "\r%s\033[K", line.c_str());
  std::fflush(stderr);
}

std::string human_seconds(double seconds) {
  const auto s = static_cast<int64_t>(std::llround(std::clamp(seconds, 0.0, 1e9)));
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{} min {:02} s", s / 60, s % 60);
  return fmt::format("{} h {:02} min", s / 3600, s % 3600 / 60);
}

}  // namespace caravan::cli
