// AdamW over spans of a ParameterStore, for the optimizer of that name and for what Muon leaves to it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "caravan/train/optimizer.h"

namespace caravan::train {

class AdamwSpans {
 public:
  AdamwSpans(ParameterStore& store, std::vector<ParameterSpan> spans, const OptimizerOptions& options);
  void update(double lr, int64_t step);  // step counts from 1
  std::vector<std::pair<std::string, Tensor>> state();

 private:
  ParameterStore& store_;
  std::vector<ParameterSpan> spans_;
  OptimizerOptions options_;
  int64_t begin_ = 0, end_ = 0;  // of all spans, which are neighbours
  Tensor exp_avg_, exp_avg_sq_;  // [end - begin]
};

}  // namespace caravan::train
