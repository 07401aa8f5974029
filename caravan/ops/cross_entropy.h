// Cross entropy from logits, as transformers' losses compute it: fp32, ignore index -100, mean over counted rows.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace caravan::ops {

using at::Tensor;

constexpr int64_t kIgnoreIndex = -100;

// logits [T, V], targets int64 [T]. The mean over rows whose target is not ignored, or their sum / count where `count`
// is given (gradient accumulation weighted by tokens). NaN where no row counts, as torch has it.
Tensor cross_entropy(const Tensor& logits, const Tensor& targets, std::optional<double> count = std::nullopt,
                     int64_t ignore_index = kIgnoreIndex);

}  // namespace caravan::ops
