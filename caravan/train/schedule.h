// Learning rate schedules: what the peak learning rate is multiplied with at each step, as transformers'
// get_*_schedule functions compute it.
//
//   schedule_factor({.name = "cosine", .warmup_steps = 100, .total_steps = 1000}, step)     // step counts from 0
//
//   constant      1                                          linear   falls to 0 at total_steps
//   cosine        half a cosine down to min_ratio            inverse_sqrt   1 / sqrt((step + shift) / timescale)
//   wsd           warm-up, stable, decay over decay_steps    (Hu et al. 2024)
//
// All begin with warmup_steps of linear warm-up.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace caravan::train {

struct ScheduleOptions {
  std::string name = "cosine";
  int64_t warmup_steps = 0;
  int64_t total_steps = 0;
  double min_ratio = 0.0;             // cosine and wsd end here
  double cycles = 0.5;                // cosine: waves
  int64_t decay_steps = 0;            // wsd: 0 takes a tenth of total_steps
  std::string decay_type = "cosine";  // wsd: linear, cosine, 1-sqrt
  int64_t timescale = 0;              // inverse_sqrt: 0 takes warmup_steps, or 10,000 without a warm-up
};

double schedule_factor(const ScheduleOptions& options, int64_t step);
std::vector<std::string> schedule_names();
void check_schedule(const ScheduleOptions& options);  // invalid_argument

}  // namespace caravan::train
