#include "caravan/nn/tree_cache.h"

#include <torch/torch.h>

#include <numeric>

#include "caravan/base/error.h"

namespace caravan::nn {
namespace {

Tensor to_positions(const std::vector<int64_t>& values, at::Device device) {
  return at::tensor(at::ArrayRef<int64_t>(values), at::kLong).to(device);
}

}  // namespace

Step TreeCache::prompts(std::span<const int64_t> lengths) {
  Step step = Step::packed(lengths, device_);
  for (Layer& layer : layers_) layer = {};
  prompt_starts_ = step.starts;
  row_starts_.clear();
  paths_.clear();
  generations_ = 0;
  step.tree = this;
  return step;
}

Step TreeCache::branch(std::vector<int64_t> starts, std::span<const int64_t> parents) {
  check(starts.size() == prompt_starts_.size() && starts.back() > 0 && std::ssize(parents) == starts.back(),
        ErrorCode::internal, "a generation needs rows, a start a prompt and a parent a row");
  const int64_t before = generations_, rows = starts.back();
  std::vector<int64_t> paths, positions;
  paths.reserve(static_cast<size_t>(rows * (before + 1)));
  for (int64_t u = 0; u + 1 < std::ssize(starts); ++u) {
    const int64_t length = prompt_starts_[u + 1] - prompt_starts_[u];
    for (int64_t row = starts[u]; row < starts[u + 1]; ++row) {
      check(before == 0 || (parents[row] >= row_starts_[u] && parents[row] < row_starts_[u + 1]), ErrorCode::internal,
            "row {} goes on from {}, which is no row of its prompt", row, parents[row]);
      for (int64_t g = 0; g < before; ++g) paths.push_back(paths_[parents[row] * before + g]);
      paths.push_back(row);
      positions.push_back(length + before);
    }
  }
  paths_ = std::move(paths);
  row_starts_ = starts;
  ++generations_;
  Step step;
  step.starts.resize(static_cast<size_t>(rows) + 1);
  std::iota(step.starts.begin(), step.starts.end(), 0);
  step.positions = to_positions(positions, device_);
  step.tree = this;
  return step;
}

Tensor TreeCache::attend(int64_t layer, const Tensor& q, const Tensor& k, const Tensor& v,
                         const ops::AttentionSpec& spec, const Step& step) {
  Layer& own = layers_.at(static_cast<size_t>(layer));
  if (generations_ == 0) {
    own.prompts = ops::pack_prompts(k, v, prompt_starts_);
    ops::AttentionSpec prompt = spec;
    prompt.causal = step.prefixes.empty();  // a prefix is the whole prompt here
    return ops::prompt_attention(q, own.prompts, step.narrow ? std::span(step.output_rows) : std::span<int64_t>(),
                                 prompt);
  }
  own.keys.push_back(k.contiguous());
  own.values.push_back(v.contiguous());
  check(std::ssize(own.keys) == generations_ && own.prompts.kv_heads > 0, ErrorCode::internal,
        "layer {} has kept {} of {} generations", layer, own.keys.size(), generations_);
  return ops::branch_attention(q, own.prompts,
                               {.starts = row_starts_, .keys = own.keys, .values = own.values, .paths = paths_}, spec);
}

}  // namespace caravan::nn
