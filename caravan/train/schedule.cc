#include "caravan/train/schedule.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "caravan/base/error.h"
#include "caravan/base/nearest.h"

namespace caravan::train {
namespace {

double ratio(int64_t a, int64_t b) { return static_cast<double>(a) / static_cast<double>(std::max<int64_t>(1, b)); }
double wave(double cycles, double progress) {
  return 0.5 * (1.0 + std::cos(std::numbers::pi * cycles * 2.0 * progress));
}

double constant(const ScheduleOptions&, int64_t) { return 1.0; }

double linear(const ScheduleOptions& o, int64_t step) {
  return std::max(0.0, ratio(o.total_steps - step, o.total_steps - o.warmup_steps));
}

double cosine(const ScheduleOptions& o, int64_t step) {
  const double progress = ratio(step - o.warmup_steps, o.total_steps - o.warmup_steps);
  return std::max(0.0, wave(o.cycles, progress) * (1.0 - o.min_ratio) + o.min_ratio);
}

double inverse_sqrt(const ScheduleOptions& o, int64_t step) {
  const int64_t timescale = o.timescale > 0 ? o.timescale : o.warmup_steps > 0 ? o.warmup_steps : 10000;
  return 1.0 / std::sqrt(ratio(step + timescale - o.warmup_steps, timescale));
}

double wsd(const ScheduleOptions& o, int64_t step) {
  const int64_t decay = o.decay_steps > 0 ? o.decay_steps : std::max<int64_t>(1, o.total_steps / 10);
  const int64_t falls_at = std::max(o.warmup_steps, o.total_steps - decay);
  if (step < falls_at) return 1.0;
  if (step >= falls_at + decay) return o.min_ratio;
  const double progress = ratio(step - falls_at, decay);
  const double factor = o.decay_type == "linear"   ? 1.0 - progress
                        : o.decay_type == "1-sqrt" ? 1.0 - std::sqrt(progress)
                                                   : wave(o.cycles, progress);
  return std::max(0.0, factor * (1.0 - o.min_ratio) + o.min_ratio);
}

struct Entry {
  std::string_view name;
  double (*after_warmup)(const ScheduleOptions&, int64_t);
};
constexpr std::array kSchedules = std::to_array<Entry>(
    {{"constant", constant}, {"linear", linear}, {"cosine", cosine}, {"inverse_sqrt", inverse_sqrt}, {"wsd", wsd}});

}  // namespace

std::vector<std::string> schedule_names() {
  std::vector<std::string> names;
  for (const Entry& entry : kSchedules) names.emplace_back(entry.name);
  return names;
}

void check_schedule(const ScheduleOptions& o) {
  std::string known;
  for (const std::string& name : schedule_names()) known += (known.empty() ? "" : ", ") + name;
  const bool found =
      std::any_of(kSchedules.begin(), kSchedules.end(), [&](const Entry& e) { return e.name == o.name; });
  check(found, ErrorCode::invalid_argument, "schedule.name '{}' is not known{}; known are {}", o.name,
        did_you_mean(o.name, schedule_names()), known);
  check(o.decay_type == "linear" || o.decay_type == "cosine" || o.decay_type == "1-sqrt", ErrorCode::invalid_argument,
        "schedule.decay_type is linear, cosine or 1-sqrt, got '{}'", o.decay_type);
  check(o.min_ratio >= 0 && o.min_ratio <= 1, ErrorCode::invalid_argument, "schedule.min_ratio lies in [0, 1], got {}",
        o.min_ratio);
}

double schedule_factor(const ScheduleOptions& options, int64_t step) {
  if (step < options.warmup_steps) {
    const double rise = ratio(step, options.warmup_steps);
    return options.name == "wsd" ? rise * (1.0 - options.min_ratio) + options.min_ratio : rise;
  }
  for (const Entry& entry : kSchedules) {
    if (entry.name == options.name) return entry.after_warmup(options, step);
  }
  fail(ErrorCode::invalid_argument, "the schedule '{}' is not known", options.name);
}

}  // namespace caravan::train
