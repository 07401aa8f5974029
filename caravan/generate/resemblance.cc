#include "caravan/generate/resemblance.h"

#include <torch/torch.h>

#include <algorithm>

namespace caravan::generate {
namespace {

int64_t shared_levels(std::span<const int32_t> a, std::span<const int32_t> b) {
  return std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
}

// Embeddings of an item's tokens, each of length 1: [levels, C].
Tensor embeddings(ItemModel& model, int32_t item) {
  const auto& tokens = model.tokens[item];
  const Tensor ids = at::tensor(at::ArrayRef<int32_t>(tokens)).to(at::kLong);
  const Tensor& weight = model.lm->backbone().input_embedding().weight.value;
  const Tensor rows = model.lm->backbone().embed(ids.to(weight.device())).to(at::kCPU, at::kFloat);
  return rows / rows.norm(2, -1, true).clamp_min(1e-12);
}

}  // namespace

std::vector<Resemblance> resembling(ItemModel& model, int32_t item, std::span<const int32_t> history, size_t most) {
  const torch::InferenceMode guard;
  const Tensor wanted = embeddings(model, item);
  std::vector<int32_t> distinct(history.begin(), history.end());
  std::sort(distinct.begin(), distinct.end());
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  std::vector<Resemblance> all;
  for (int32_t other : distinct) {
    const Tensor rows = embeddings(model, other);
    const int64_t levels = std::min(rows.size(0), wanted.size(0));
    const Tensor cosines = (rows.slice(0, 0, levels) * wanted.slice(0, 0, levels)).sum(-1);
    all.push_back({.item = other,
                   .shared_levels = shared_levels(model.items.codes.codes(item), model.items.codes.codes(other)),
                   .cosine = cosines.mean().item<float>()});
  }
  std::stable_sort(all.begin(), all.end(), [](const Resemblance& a, const Resemblance& b) {
    return a.shared_levels != b.shared_levels ? a.shared_levels > b.shared_levels : a.cosine > b.cosine;
  });
  if (all.size() > most) all.resize(most);
  return all;
}

}  // namespace caravan::generate
