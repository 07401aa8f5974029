// Assigns every row to one column at least total cost while no column takes more than its capacity (a transportation
// problem), by Bertsekas' auction.
//
//   std::vector<int32_t> column = balanced_assignment(costs, {.capacity = 48});   // costs [N, K]
//
// The result is within N * tolerance * (cost range) of the optimum. Rows bid for columns; a full column lets its lowest
// bid go and raises its price to it. Deterministic.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "caravan/codes/linear_algebra.h"

namespace caravan::codes {

struct AssignmentOptions {
  int64_t capacity = 1;     // of every column
  double tolerance = 1e-4;  // smallest raise of a price, as a share of the range of the costs
  Poll poll = {};
};

// costs [N, K] fp32, finite. Throws invalid_argument where K * capacity < N.
std::vector<int32_t> balanced_assignment(const at::Tensor& costs, const AssignmentOptions& options);

}  // namespace caravan::codes
