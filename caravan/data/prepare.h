// From a log to a dataset: filters, order, split, numbering.
//
//   Interactions log = read_interactions({"ratings.csv"}, {});
//   Dataset data = prepare(std::move(log), about, {.user_core = 5, .item_core = 5});
//
// In this order: (1) each user's interactions are ordered by time; ties stay in the order of the file, and a log
// without times keeps the file's order. (2) Repeated pairs of user and item go by `duplicates`. (3) k-core: users and
// items with too few interactions are left out, again and again until none is left. (4) Sequences longer than
// max_length keep the newest interactions. (5) Items get internal indexes in an order shuffled by `seed`: numbering by
// first appearance, as S3-Rec's files have it, gives the next item away (it is the first unseen number for 4.4% of
// Beauty's users). (6) The split.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "caravan/data/dataset.h"
#include "caravan/data/descriptions.h"
#include "caravan/data/interactions.h"

namespace caravan::data {

enum class Duplicates {
  keep,
  first,        // of each pair of user and item the oldest stays
  last,         // ... the newest
  consecutive,  // an item right after itself is left out
};

enum class Split { leave_one_out, time };

struct PrepareOptions {
  int64_t user_core = 0, item_core = 0;  // least number of interactions; 0 or 1: all stay
  Duplicates duplicates = Duplicates::keep;
  int64_t max_length = 0;  // 0: no limit
  Split split = Split::leave_one_out;
  // Time split: validation begins at the first, test at the second. Where not given: the times after which the last 20%
  // and the last 10% of all interactions lie.
  std::optional<double> validation_from, test_from;
  uint64_t seed = 0;
  bool keep_cold_items = false;  // described items without any interaction become items, too
};

// Throws invalid_argument where nothing would be left, or a time split is asked of a log without times.
Dataset prepare(Interactions log, const Descriptions& about, const PrepareOptions& options);

// 0..n-1 shuffled; the same for a seed on every machine.
std::vector<int32_t> random_order(int64_t n, uint64_t seed);

Duplicates find_duplicates_policy(const std::string& name);  // keep, first, last, consecutive
Split find_split(const std::string& name);                   // leave-one-out, time

}  // namespace caravan::data
