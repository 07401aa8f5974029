// What goes into the Linear layers of a model while it reads a text: the mean square of every input column (the
// importance that kernels/quantize.h weighs errors with) and, where asked for, the whole Gram matrix (quant/gptq.h).
//
//   Calibration seen({.gram = false});
//   seen.run(model, windows, progress);
//   std::vector<float> importance = importance_of(*seen.find("model.layers.0.mlp.down_proj"));
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "caravan/models/heads.h"
#include "caravan/nn/linear_inputs.h"

namespace caravan::quant {

using at::Tensor;

struct InputStatistics {
  Tensor squares;    // [in] fp64: sum of x_j^2
  Tensor gram;       // [in, in] fp32: sum of x x^T; undefined unless asked for
  int64_t rows = 0;  // tokens
};

class Calibration final : public nn::LinearInputs {
 public:
  struct Options {
    bool gram = false;
    std::function<bool(const std::string& path)> wanted;  // which layers; all where empty
  };
  explicit Calibration(Options options) : options_(std::move(options)) {}

  // Runs the model over each window of token ids. progress(windows done) may throw to stop.
  void run(models::CausalLm& model, std::span<const std::vector<int32_t>> windows,
           const std::function<void(int64_t)>& progress = {});

  void see(const nn::Linear& layer, const Tensor& x) override;

  const InputStatistics* find(const std::string& path) const;  // nullptr where nothing came by
  const std::map<std::string, std::shared_ptr<InputStatistics>>& all() const { return by_path_; }

 private:
  Options options_;
  std::map<std::string, std::shared_ptr<InputStatistics>> by_path_;  // layers with one input share one entry
  std::map<const nn::Module*, std::shared_ptr<InputStatistics>> by_layer_;
  Tensor last_;  // the input seen last, held so that its identity says something
  std::shared_ptr<InputStatistics> last_statistics_;
};

// Importances by layer: "model.layers.0.mlp.down_proj" -> [in]. Every value is above zero: columns that were never used
// keep a millionth of the mean.
using Importances = std::map<std::string, std::vector<float>>;
Importances importances_of(const Calibration& calibration);
std::vector<float> importance_of(const InputStatistics& seen);  // empty where every input was zero
std::vector<float> above_zero(std::vector<float> importance);

// Token ids cut into windows of `length`; the rest is left out unless it is all there is.
std::vector<std::vector<int32_t>> calibration_windows(std::span<const int32_t> ids, int64_t length, int64_t most);

}  // namespace caravan::quant
