// Decoder layers for one new token a sequence, in five stages each that a team of threads runs without leaving the
// stack: some twenty ops of a few microseconds a layer would cost a small model more than its products.
//
//   norm, q/k/v, store keys and values | rotate, attend | o, residual | norm, gate, up, activation | down, residual
//
// What a stage reads first is asked for while the threads compute attention or wait for each other, so that the memory
// does not rest. The plain twin is DecoderLayer::forward, which gives the same bits: each stage calls the same kernels.
#pragma once

#include "caravan/nn/step.h"

namespace caravan::nn {

class DecoderLayer;
template <class T>
class ModuleList;

// x [T, C] after all layers; undefined, with nothing done, where only the plain layers can: in training, on a GPU, in
// types other than fp32, without a paged cache, for many sequences or longer pieces of them, or where somebody watches.
Tensor decode_fused(ModuleList<DecoderLayer>& layers, const Tensor& x, Step& step);

// Layers of other kinds have no fused form.
template <class OtherLayer>
Tensor decode_fused(ModuleList<OtherLayer>&, const Tensor&, Step&) {
  return {};
}

}  // namespace caravan::nn
