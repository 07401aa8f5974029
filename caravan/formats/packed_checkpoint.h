// A checkpoint of packed integers (GPTQ, AWQ, compressed-tensors) as one of plain weights: "NAME.weight" [out, in].
//
//   checkpoint = present_packed(std::move(checkpoint));     // what Checkpoint::open does with every folder
//
// Weights are shown in a block type where that holds them, so that they run from blocks: four bits around the middle as
// q4_0, with other zeros as q4_1 (the offset rounds to a half: an error of at most 15/2048 of
// a step), eight bits as q8_0. Where
// groups are no multiple of 32, columns are reordered (act-order) or a scale is no half, they are dense in the scales'
// type. The config loses its quantization_config.
#pragma once

#include <memory>

#include "caravan/formats/checkpoint.h"

namespace caravan::formats {

// The checkpoint itself where nothing in it is packed.
std::unique_ptr<Checkpoint> present_packed(std::unique_ptr<Checkpoint> checkpoint);

}  // namespace caravan::formats
