// AWQ (Lin et al. 2024): columns that large activations meet are scaled up before rounding, and the layer before scales
// its outputs down by as much; the model computes the same, and rounding hurts it less. The scales are powers of the
// activations' size, the exponent searched for each layer against the error of its outputs. Unlike the paper's, the
// rounding itself weighs errors by the squares of the scaled columns' inputs.
//
//   auto rescaled = awq(*checkpoint, grams, {.choose = choose});    // then quantize it like any other
//
// Left out: clipping of weights (the block encoders search their scales). Between v_proj and o_proj only where every
// query head has values of its own.
#pragma once

#include <functional>
#include <memory>

#include "caravan/formats/checkpoint.h"
#include "caravan/quant/gram_source.h"

namespace caravan::quant {

struct AwqOptions {
  std::function<DType(const formats::TensorInfo&)> choose;  // what each tensor will be rounded to
  int64_t sampled_rows = 256;                               // of each matrix, that errors are measured on
  int steps = 20;                                           // exponents 0, 1 / steps ...
  std::function<void(int64_t layers_done)> progress = {};   // may throw to stop
  Importances* importances = nullptr;  // gets those of the matrices' columns, scaled ones included: to round with
};

// The same model with other numbers; `from` must outlive it.
std::unique_ptr<formats::Checkpoint> awq(const formats::Checkpoint& from, GramSource& grams, const AwqOptions& options);

}  // namespace caravan::quant
