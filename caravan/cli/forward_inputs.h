// The inputs of one model call, as transformers' models take them: rectangles [B, W] with a mask.
//
//   ForwardInputs inputs = inputs_from_ids({"1,2,3", "4,5"});      // padded on the right, mask to match
//   inputs.check_and_move(vocab_size, hidden_size, at::kCPU);
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "caravan/models/padded_batch.h"

namespace caravan::cli {

// What a head's loss reads: labels a token or a sequence, start and end positions, nothing.
enum class Targets { none, tokens, sequences, spans };

struct ForwardInputs {
  at::Tensor input_ids;                       // int64 [B, W]; or:
  at::Tensor inputs_embeds;                   // float [B, W, C]
  at::Tensor attention_mask;                  // [B, W], 1 where there is a token
  at::Tensor position_ids;                    // int64 [B, W] or [1, W]; undefined: the columns
  at::Tensor labels;                          // int64 [B, W] or [B], float [B] or [B, labels]
  at::Tensor start_positions, end_positions;  // int64 [B]

  // Shapes and ids checked (invalid_argument names the tensor), missing masks made, all moved to the device.
  void check_and_move(int64_t vocab_size, int64_t hidden_size, at::Device device);
  void check_targets(Targets wanted) const;  // after check_and_move
};

ForwardInputs inputs_from_ids(const std::vector<std::string>& ids);
ForwardInputs inputs_from_file(const std::string& path);

}  // namespace caravan::cli
