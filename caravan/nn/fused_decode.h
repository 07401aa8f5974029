// A decoder layer for one new token a sequence, in five stages that a team of threads runs without leaving the layer:
// some twenty ops of a few microseconds each would cost a small model more than its products.
//
//   norm, q/k/v | rotate, store, attend | o, residual | norm, gate, up, activation | down, residual
//
// The plain twin is DecoderLayer::forward, which gives the same bits: each stage calls the same kernels.
#pragma once

#include "caravan/nn/step.h"

namespace caravan::nn {

class DecoderLayer;

// Inference on the CPU in fp32 with a paged cache, few sequences, nobody watching, weights that stream (dense, half
// precision or packed), SiLU.
bool can_decode_fused(DecoderLayer& layer, const Tensor& x, const Step& step);

Tensor decode_fused(DecoderLayer& layer, const Tensor& x, Step& step);  // [T, C] -> [T, C]

}  // namespace caravan::nn
