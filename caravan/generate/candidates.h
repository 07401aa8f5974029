// Choosing continuations among all beams of one prompt: the K best of [beams, V] accumulated scores, or K drawn without
// replacement. Shared by the beam strategies.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "caravan/generate/random.h"
#include "caravan/generate/strategy.h"

namespace caravan::generate {

constexpr float kMinusBillion = -1e9f;  // transformers' score for what must not be chosen

struct Candidate {
  int64_t beam = 0;
  int32_t token = 0;
  float score = 0;  // sum of log probabilities
};

// log_probabilities [R, V] fp32, one row a beam or one row for all (right after the prompt); scores [beams].
// Ordered by score; equal scores in torch.topk's order.
std::vector<Candidate> best_candidates(const Tensor& log_probabilities, std::span<const float> scores, int64_t count);
std::vector<Candidate> drawn_candidates(const Tensor& log_probabilities, std::span<const float> scores, int64_t count,
                                        Random& random);

// Indices of the `count` largest values, in torch.topk's order.
std::vector<int64_t> largest(std::span<const float> values, int64_t count);

// Log probabilities of the rows after the prompt's processors, recorded where wanted. ids[r]: tokens of row r.
Tensor processed_log_probabilities(Task& task, const Tensor& logits, std::span<const std::span<const int32_t>> ids);

// The caches of the next beams from their parents': forks where a parent has several children, moves the last time.
std::vector<nn::CacheSequence> inherit(std::vector<nn::CacheSequence> parents, std::span<const int64_t> parent_of);

}  // namespace caravan::generate
