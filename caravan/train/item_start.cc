#include "caravan/train/item_start.h"

#include <torch/torch.h>

#include "caravan/base/error.h"
#include "caravan/models/tensor_file.h"

namespace caravan::train {

using at::Tensor;

namespace {

// [N, D] -> [N, min(C, D)], columns by falling variance.
Tensor principal_components(const Tensor& vectors, int64_t width) {
  const Tensor centred = vectors.to(at::kDouble) - vectors.to(at::kDouble).mean(0);
  const auto [values, directions] = at::linalg_eigh(at::mm(centred.t(), centred));  // ascending
  const int64_t kept = std::min(width, vectors.size(1));
  return at::mm(centred, directions.slice(1, vectors.size(1) - kept).flip(1));
}

}  // namespace

Tensor read_item_vectors(const std::string& path, int64_t items) {
  const std::map<std::string, Tensor> all = models::read_tensors(path);
  check(all.size() == 1 && all.begin()->second.dim() == 2, ErrorCode::invalid_argument,
        "data.item_vectors: {} must hold one matrix, a row an item (`caravan items build --save-vectors`)", path);
  const Tensor vectors = all.begin()->second;
  check(vectors.size(0) == items, ErrorCode::invalid_argument,
        "data.item_vectors: {} has {} rows for {} items: it belongs to another dataset", path, vectors.size(0), items);
  check(at::isfinite(vectors).all().item<bool>(), ErrorCode::invalid_argument,
        "data.item_vectors: {} holds values that are not finite", path);
  return vectors;
}

void start_items(models::CausalLm& lm, const items::TokenRun& run, const Tensor& vectors, double std) {
  const torch::NoGradGuard no_grad;
  const Tensor& embeddings = lm.backbone().input_embedding().weight.value;
  Tensor rows = principal_components(vectors, embeddings.size(1));
  const double spread = rows.square().sum(1).mean().sqrt().item<double>();  // of a whole row
  check(spread > 0, ErrorCode::invalid_argument, "data.item_vectors: all items have the same vector");
  rows = rows * (std * std::sqrt(static_cast<double>(rows.size(1))) / spread);
  const auto put = [&](const Tensor& weight) {
    weight.slice(0, run.first, run.first + run.count).slice(1, 0, rows.size(1)).copy_(rows);
  };
  put(embeddings);
  if (!lm.tied()) put(lm.output_weight());
}

}  // namespace caravan::train
