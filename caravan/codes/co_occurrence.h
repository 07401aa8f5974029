// Which items stand near each other in users' sequences, as a sparse symmetric matrix [N, N].
//
//   SparseMatrix m = co_occurrence(train_sequences, items, {.window = 5, .weighting = Weighting::cosine});
//
// counts:  c_ij = number of times that i and j stand at most `window` places apart, each worth 1 / distance by option
// cosine:  c_ij / sqrt(c_i c_j), c_i the row sums (the affinity of item-kNN, and of spectral embedding)
// ppmi:    max(0, ln(c_ij c / (c_i c_j^alpha)) - ln k), Levy & Goldberg 2014: what skip-gram with k negatives
//          factorizes. With alpha = 1 the matrix is symmetric; alpha < 1 damps popular contexts.
// Give it the training part of the sequences only: codes that saw test interactions leak them.
#pragma once

#include <span>
#include <vector>

#include "caravan/codes/linear_algebra.h"

namespace caravan::codes {

enum class Weighting { counts, cosine, ppmi };

struct CoOccurrenceOptions {
  int64_t window = 5;  // 0: the whole sequence
  bool by_distance = true;
  Weighting weighting = Weighting::cosine;
  double alpha = 1.0, shift = 1.0;  // ppmi: context smoothing, k
  Poll poll = {};
};

// Items of a sequence are rows 0 .. items - 1; others are an invalid_argument. An item beside itself does not count.
SparseMatrix co_occurrence(std::span<const std::vector<int32_t>> sequences, int64_t items,
                           const CoOccurrenceOptions& options = {});

}  // namespace caravan::codes
