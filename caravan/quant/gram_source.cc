#include "caravan/quant/gram_source.h"

#include <torch/torch.h>

#include <algorithm>

namespace caravan::quant {

GramSource::GramSource(models::CausalLm& model, std::vector<std::vector<int32_t>> windows, Options options)
    : model_(model), windows_(std::move(windows)), options_(std::move(options)) {
  for (const nn::NamedParameter& p : model.backbone().named_parameters()) {
    if (p.owner->kind() != "Linear" || p.parameter->shape.size() != 2) continue;
    const std::string path = p.owner->path();
    columns_[path] = p.parameter->shape[1];
    order_.push_back(path);
  }
}

const InputStatistics* GramSource::find(const std::string& path) {
  if (wanted_.contains(path)) return current_->find(path);
  if (!columns_.contains(path)) return nullptr;
  wanted_ = {path};
  int64_t bytes = 0;
  for (auto it = std::find(order_.begin(), order_.end(), path); it != order_.end(); ++it) {
    const auto at = columns_.find(*it);
    if (at == columns_.end()) continue;
    bytes += at->second * at->second * static_cast<int64_t>(sizeof(float));  // more than it is: some share an input
    if (bytes > options_.bytes) break;
    wanted_.insert(*it);
  }
  current_.reset();
  current_ = std::make_unique<Calibration>(
      Calibration::Options{.gram = true, .wanted = [this](const std::string& p) { return wanted_.contains(p); }});
  current_->run(model_, windows_, options_.progress);
  return current_->find(path);
}

}  // namespace caravan::quant
