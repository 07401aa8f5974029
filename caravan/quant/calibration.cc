#include "caravan/quant/calibration.h"

#include <torch/torch.h>

#include <algorithm>

#include "caravan/base/error.h"

namespace caravan::quant {

void Calibration::see(const nn::Linear& layer, const Tensor& x) {
  const bool shared = last_.defined() && last_.is_same(x);  // q, k and v read one tensor; so do gate and up
  auto [it, is_new] = by_layer_.try_emplace(&layer);
  if (is_new) {
    const std::string path = layer.path();
    if (options_.wanted && !options_.wanted(path)) return;
    it->second = shared && last_statistics_ != nullptr ? last_statistics_ : std::make_shared<InputStatistics>();
    by_path_[path] = it->second;
  }
  InputStatistics* seen = it->second.get();
  if (seen == nullptr) return;
  if (shared && it->second == last_statistics_) return;  // counted by the first of them
  last_ = x;
  last_statistics_ = it->second;
  const Tensor rows = x.detach().reshape({-1, x.size(-1)}).to(at::kCPU, at::kFloat);
  const Tensor squares = rows.square().sum(0, false, at::kDouble);
  seen->squares = seen->squares.defined() ? seen->squares + squares : squares;
  seen->rows += rows.size(0);
  if (!options_.gram) return;
  if (!seen->gram.defined()) seen->gram = at::zeros({rows.size(1), rows.size(1)}, at::kFloat);
  seen->gram.addmm_(rows.t(), rows);
}

void Calibration::run(models::CausalLm& model, std::span<const std::vector<int32_t>> windows,
                      const std::function<void(int64_t)>& progress) {
  check(!windows.empty(), ErrorCode::invalid_argument, "calibration: the text has no tokens");
  const torch::InferenceMode guard;
  const nn::ScopedLinearInputs watch(*this);
  const at::Device device = model.backbone().input_embedding().weight.value.device();
  for (size_t i = 0; i < windows.size(); ++i) {
    if (progress) progress(static_cast<int64_t>(i));
    const int64_t length = std::ssize(windows[i]);
    nn::Step step = nn::Step::packed({&length, 1}, device);
    const Tensor ids = at::tensor(at::ArrayRef<int32_t>(windows[i]), at::kInt).to(device, at::kLong);
    model.hidden(ids, step);
    last_ = Tensor();
    last_statistics_ = nullptr;
  }
  if (progress) progress(std::ssize(windows));
}

const InputStatistics* Calibration::find(const std::string& path) const {
  const auto it = by_path_.find(path);
  return it == by_path_.end() ? nullptr : it->second.get();
}

std::vector<float> above_zero(std::vector<float> importance) {
  double mean = 0;
  for (const float v : importance) mean += static_cast<double>(v) / static_cast<double>(importance.size());
  if (!(mean > 0)) return {};
  for (float& v : importance) v = std::max(static_cast<float>(static_cast<double>(v) / mean), 1e-6f);
  return importance;
}

std::vector<float> importance_of(const InputStatistics& seen) {
  if (seen.rows == 0) return {};
  const Tensor mean = (seen.squares / static_cast<double>(seen.rows)).to(at::kFloat).contiguous();
  const auto* values = mean.const_data_ptr<float>();
  return above_zero({values, values + mean.numel()});
}

Importances importances_of(const Calibration& calibration) {
  Importances all;
  for (const auto& [path, seen] : calibration.all()) {
    if (seen == nullptr) continue;
    std::vector<float> importance = importance_of(*seen);
    if (!importance.empty()) all.emplace(path, std::move(importance));
  }
  return all;
}

std::vector<std::vector<int32_t>> calibration_windows(std::span<const int32_t> ids, int64_t length, int64_t most) {
  std::vector<std::vector<int32_t>> windows;
  for (int64_t begin = 0; begin < std::ssize(ids) && std::ssize(windows) < most; begin += length) {
    const int64_t n = std::min(length, std::ssize(ids) - begin);
    if (n < length && !windows.empty()) break;
    const auto part = ids.subspan(static_cast<size_t>(begin), static_cast<size_t>(n));
    windows.emplace_back(part.begin(), part.end());
  }
  return windows;
}

}  // namespace caravan::quant
