// Gram matrices of the inputs of a model's Linear layers, made when they are asked for: as many layers a pass over the
// text as fit a budget of memory, in the model's order.
//
//   GramSource grams(model, windows, {.bytes = 2 << 30});
//   const InputStatistics* seen = grams.find("model.layers.0.mlp.down_proj");
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "caravan/quant/calibration.h"

namespace caravan::quant {

class GramSource {
 public:
  struct Options {
    int64_t bytes = int64_t{2} << 30;
    std::function<void(int64_t windows_done)> progress = {};  // may throw to stop
  };
  GramSource(models::CausalLm& model, std::vector<std::vector<int32_t>> windows, Options options);

  // nullptr for what is no Linear layer or saw nothing (lm_head is not run).
  const InputStatistics* find(const std::string& path);

 private:
  models::CausalLm& model_;
  std::vector<std::vector<int32_t>> windows_;
  Options options_;
  std::vector<std::pair<std::string, int64_t>> paths_;  // in the model's order, with the columns
  std::unique_ptr<Calibration> current_;
};

}  // namespace caravan::quant
