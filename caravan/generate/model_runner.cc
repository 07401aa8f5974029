// The head sees only the wanted rows: a prompt of 1000 tokens costs one row of logits.
#include "caravan/generate/model_runner.h"

#include <torch/torch.h>

#include <algorithm>

#include "caravan/base/error.h"
#include "caravan/generate/head_rows.h"

namespace caravan::generate {
namespace {

Tensor id_tensor(std::span<const int32_t> ids, int64_t vocab_size) {
  Tensor tensor = at::empty({std::ssize(ids)}, at::kLong);
  int64_t* to = tensor.mutable_data_ptr<int64_t>();
  for (size_t i = 0; i < ids.size(); ++i) {
    check(ids[i] >= 0 && ids[i] < vocab_size, ErrorCode::invalid_argument,
          "token id {} is outside the vocabulary of {} tokens", ids[i], vocab_size);
    to[i] = ids[i];
  }
  return tensor;
}

}  // namespace

ModelRunner::ModelRunner(models::CausalLm& model, std::optional<at::ScalarType> cache_dtype)
    : model_(&model),
      dtype_(activation_dtype(model)),
      device_(model.backbone().input_embedding().weight.value.device()),
      cache_(model.backbone().cache_shape(), cache_dtype.value_or(dtype_), device_),
      vocab_size_(model.backbone().vocab_size()) {}

Tensor ModelRunner::forward(std::span<Feed> feeds, int64_t tokens) {
  std::vector<nn::CacheSequence*> sequences;
  std::vector<int64_t> lengths;
  std::vector<int32_t> ids;
  ids.reserve(tokens);
  bool embedded = false;
  for (const Feed& feed : feeds) {
    sequences.push_back(feed.cache);
    lengths.push_back(feed.tokens());
    embedded = embedded || feed.embeddings.defined();
    ids.insert(ids.end(), feed.ids.begin(), feed.ids.end());
  }
  const Tensor flat = id_tensor(ids, model_->backbone().vocab_size()).to(device_);
  nn::Step step = nn::Step::cached(cache_, std::move(sequences), lengths);
  if (std::any_of(feeds.begin(), feeds.end(), [](const Feed& feed) { return feed.prefix > 0; })) {
    for (const Feed& feed : feeds) step.prefixes.push_back(feed.prefix);
  }
  if (!embedded) return model_->hidden(flat, step);

  const Tensor embeddings = ids.empty() ? Tensor() : model_->backbone().embed(flat);
  std::vector<Tensor> parts;
  int64_t at = 0;
  for (const Feed& feed : feeds) {
    if (feed.embeddings.defined()) {
      parts.push_back(feed.embeddings.to(device_, dtype_));
    } else {
      parts.push_back(embeddings.narrow(0, at, feed.tokens()));
      at += feed.tokens();
    }
  }
  return model_->backbone()(at::cat(parts), step);
}

Outputs ModelRunner::run(std::span<Feed> feeds) {
  torch::InferenceMode guard;
  int64_t tokens = 0, rows = 0;
  for (const Feed& feed : feeds) {
    tokens += feed.tokens();
    rows += feed.rows;
  }
  const Tensor hidden = forward(feeds, tokens);  // [T, C]
  tokens_run_ += tokens;

  std::vector<int64_t> wanted;
  std::vector<Tensor> kept;
  int64_t start = 0;
  for (const Feed& feed : feeds) {
    const int64_t end = start + feed.tokens();
    for (int64_t row = end - feed.rows; row < end; ++row) wanted.push_back(row);
    if (feed.hidden) kept.push_back(hidden.narrow(0, start, feed.tokens()));
    start = end;
  }
  Outputs out;
  if (rows > 0) {
    const Tensor last = rows == tokens ? hidden : hidden.index_select(0, at::tensor(wanted, at::kLong).to(device_));
    out.logits = model_->logits(last).to(at::kCPU, at::kFloat).contiguous();
    vocab_size_ = out.logits.size(1);
  }
  if (!kept.empty()) out.hidden = at::cat(kept).to(at::kCPU, at::kFloat);
  return out;
}

}  // namespace caravan::generate
