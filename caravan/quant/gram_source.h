// Gram matrices of the inputs of a model's Linear layers, made when they are asked for: as many layers a pass over the
// text as fit a budget of memory.
//
//   GramSource grams(model, windows, {.bytes = int64_t{2} << 30});
//   grams.expect(paths);      // else: the model's order
//   const InputStatistics* seen = grams.find("model.layers.0.mlp.down_proj");
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
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

  // The layers that find() will be called for, in that order: a pass is made for the next of them, not for others.
  void expect(std::vector<std::string> paths) { order_ = std::move(paths); }

  // nullptr for what is no Linear layer of the backbone (the head is not run) or saw nothing.
  const InputStatistics* find(const std::string& path);

 private:
  models::CausalLm& model_;
  std::vector<std::vector<int32_t>> windows_;
  Options options_;
  std::map<std::string, int64_t> columns_;  // of each Linear layer
  std::vector<std::string> order_;
  std::set<std::string> wanted_;  // by the pass that made current_
  std::unique_ptr<Calibration> current_;
};

}  // namespace caravan::quant
