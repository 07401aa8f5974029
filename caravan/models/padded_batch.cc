#include "caravan/models/padded_batch.h"

#include <torch/torch.h>

#include "caravan/base/error.h"

namespace caravan::models {

PaddedBatch::PaddedBatch(const Tensor& mask, bool keep_padding) {
  check(mask.dim() == 2 && mask.numel() > 0, ErrorCode::invalid_argument, "an attention mask [B, W] is expected");
  batch_ = mask.size(0);
  width_ = mask.size(1);
  const Tensor on = mask.ne(0);
  const Tensor counts = on.sum(1).to(at::kLong).cpu().contiguous();
  lengths_.assign(counts.const_data_ptr<int64_t>(), counts.const_data_ptr<int64_t>() + batch_);
  for (int64_t n : lengths_)
    check(n > 0, ErrorCode::invalid_argument, "every row of a batch needs at least one unmasked token");
  if (keep_padding && !on.all().item<bool>()) {
    visible_keys_ = on;
    lengths_.assign(static_cast<size_t>(batch_), width_);
    rows_ = at::arange(batch_ * width_, mask.options().dtype(at::kLong));
  } else {
    rows_ = on.reshape({-1}).nonzero().squeeze(1);
  }
}

nn::Step PaddedBatch::step(const Tensor& position_ids) const {
  nn::Step step = nn::Step::packed(lengths_, rows_.device());
  step.positions =
      position_ids.defined() ? pack(position_ids.expand({batch_, width_})).to(at::kLong) : rows_.remainder(width_);
  // One for the whole batch, as transformers counts.
  step.rotary_length = position_ids.defined() ? step.positions.max().item<int64_t>() + 1 : width_;
  step.visible_keys = visible_keys_;
  return step;
}

Tensor PaddedBatch::pack(const Tensor& x) const {
  check(x.dim() >= 2 && x.size(0) == batch_ && x.size(1) == width_, ErrorCode::invalid_argument,
        "a tensor [{}, {}, ...] is expected beside this mask", batch_, width_);
  return x.flatten(0, 1).index_select(0, rows_);
}

Tensor PaddedBatch::unpack(const Tensor& rows) const {
  auto sizes = rows.sizes().vec();
  sizes[0] = batch_ * width_;
  const Tensor flat = at::zeros(sizes, rows.options()).index_copy(0, rows_, rows);
  sizes[0] = width_;
  sizes.insert(sizes.begin(), batch_);
  return flat.reshape(sizes);
}

Tensor PaddedBatch::unpack_attention(const std::vector<Tensor>& weights) const {
  Tensor all = at::zeros({batch_, weights.at(0).size(0), width_, width_}, weights[0].options());
  const Tensor columns = rows_.remainder(width_);
  int64_t start = 0;
  for (int64_t b = 0; b < batch_; ++b) {
    const Tensor mine = columns.slice(0, start, start + lengths_[b]);
    all[b].index_put_({torch::indexing::Slice(), mine.unsqueeze(1), mine.unsqueeze(0)}, weights[b]);
    start += lengths_[b];
  }
  return all;
}

std::vector<int64_t> PaddedBatch::last_rows(const Tensor& input_ids, int64_t pad_id) const {
  const Tensor ids = pack(input_ids).cpu().to(at::kLong).contiguous();
  const auto* id = ids.const_data_ptr<int64_t>();
  std::vector<int64_t> rows;
  int64_t start = 0;
  for (int64_t n : lengths_) {
    int64_t last = start + n - 1;
    while (last > start && id[last] == pad_id) --last;
    rows.push_back(last);  // the first one where all are padding: transformers takes the argmax of zeros
    start += n;
  }
  return rows;
}

}  // namespace caravan::models
