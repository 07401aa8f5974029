// A rectangular batch with a 0/1 mask, as transformers takes it, mapped onto the ragged rows that models see, and back.
//
//   PaddedBatch batch(attention_mask);                     // int64 [B, W], left- or right-padded
//   nn::Step step = batch.step();
//   Tensor logits = batch.unpack(model.forward(batch.pack(input_ids), step));   // [B, W, V], zeros at padding
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "caravan/nn/step.h"

namespace caravan::models {

using at::Tensor;

class PaddedBatch {
 public:
  // Every row needs at least one token. Padding is left out of the ragged rows, or with `keep_padding` kept as rows
  // that no other token sees: slower, but equal to transformers at padded places too, which its losses may read (the
  // last padded place before a left-padded text predicts the first token; question answering normalizes over all
  // places).
  explicit PaddedBatch(const Tensor& mask, bool keep_padding = false);

  // Positions are the columns, as transformers counts them where no position_ids are given, or `position_ids` [B, W].
  nn::Step step(const Tensor& position_ids = {}) const;

  Tensor pack(const Tensor& x) const;                                 // [B, W, ...] -> [T, ...]
  Tensor unpack(const Tensor& rows) const;                            // [T, ...] -> [B, W, ...]
  Tensor unpack_attention(const std::vector<Tensor>& weights) const;  // per sequence [H, n, n] -> [B, H, W, W]

  // For classification: per sequence the ragged row of the last token that is not `pad_id`; the first where all are.
  std::vector<int64_t> last_rows(const Tensor& input_ids, int64_t pad_id) const;

  const std::vector<int64_t>& lengths() const { return lengths_; }

 private:
  int64_t batch_, width_;
  std::vector<int64_t> lengths_;
  Tensor visible_keys_;  // [B, W] where padding is kept
  Tensor rows_;          // int64 [T]: b * W + column
};

}  // namespace caravan::models
