// What to do where several items got the same tuple of codes.
//
//   CodeTable table{.sizes = {256, 256, 256}, .codes = rq.codes};
//   append_counter(table, popularity);            // TIGER: a last code 0, 1, 2 ... inside each tuple
//
//   append_counter    one level more; the most popular item of a tuple gets 0. Every item becomes unique.
//   reassign          the last level's codes of items that share a prefix are dealt out so that none repeats, at the
//                     least total squared distance (an optimal assignment, where LC-Rec moves items by Sinkhorn); a
//                     prefix with more items than codes sends the farthest on to the next nearest prefix with room.
//   sinkhorn_reassign LC-Rec (2311.09049): only colliding items, by uniform transport on the last level, in rounds.
// Or leave them: a recommender then returns all items of a tuple, in the order of their popularity.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "caravan/codes/rq_kmeans.h"

namespace caravan::codes {

struct CodeTable {
  std::vector<int64_t> sizes;               // of each level's codebook
  std::vector<std::vector<int32_t>> codes;  // [levels][N]
  int64_t items() const { return codes.empty() ? 0 : static_cast<int64_t>(codes[0].size()); }
  int64_t levels() const { return static_cast<int64_t>(codes.size()); }
};

// Items by their first `levels` codes: tuples in the order of their codes, items ascending inside each.
std::vector<std::vector<int32_t>> buckets_of(const CodeTable& table, int64_t levels);

// popularity [N]: larger first, equal ones by item number; empty: by item number.
void append_counter(CodeTable& table, std::span<const int64_t> popularity);

// Returns how many items got another tuple. Throws invalid_argument where all tuples together are fewer than the items.
int64_t reassign(CodeTable& table, const ResidualCodes& vectors, const Poll& poll = {});

struct SinkhornOptions {
  double epsilon = 0.003;
  int iterations = 50, rounds = 20;
  Poll poll = {};
};
int64_t sinkhorn_reassign(CodeTable& table, const ResidualCodes& vectors, const SinkhornOptions& options = {});

// Sinkhorn-Knopp: argmax of each row of the transport plan of exp(-d / epsilon) with equal row and column sums, the
// distances first centred to [-1, 1]. costs [N, K].
std::vector<int32_t> sinkhorn_assignment(const Tensor& costs, const SinkhornOptions& options);

}  // namespace caravan::codes
