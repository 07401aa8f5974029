#include "caravan/quant/gram_source.h"

#include <torch/torch.h>

#include <algorithm>
#include <set>

namespace caravan::quant {

GramSource::GramSource(models::CausalLm& model, std::vector<std::vector<int32_t>> windows, Options options)
    : model_(model), windows_(std::move(windows)), options_(std::move(options)) {
  for (const nn::NamedParameter& p : model.named_parameters()) {
    if (p.owner->kind() != "Linear" || p.parameter->shape.size() != 2) continue;
    paths_.emplace_back(p.owner->path(), p.parameter->shape[1]);
  }
}

const InputStatistics* GramSource::find(const std::string& path) {
  if (current_ != nullptr) {
    if (const InputStatistics* seen = current_->find(path)) return seen;
  }
  const auto at = std::find_if(paths_.begin(), paths_.end(), [&](const auto& p) { return p.first == path; });
  if (at == paths_.end()) return nullptr;
  std::set<std::string> wanted;
  int64_t bytes = 0;
  for (auto it = at; it != paths_.end(); ++it) {  // layers that share an input share its matrix: an upper bound
    bytes += it->second * it->second * static_cast<int64_t>(sizeof(float));
    if (bytes > options_.bytes && !wanted.empty()) break;
    wanted.insert(it->first);
  }
  current_.reset();
  current_ = std::make_unique<Calibration>(
      Calibration::Options{.gram = true, .wanted = [wanted](const std::string& p) { return wanted.contains(p); }});
  current_->run(model_, windows_, options_.progress);
  return current_->find(path);
}

}  // namespace caravan::quant
