// What a dataset looks like, for people and programs: sizes, lengths, ties, duplicates, popularity, text, leaks.
#pragma once

#include <string>

#include "caravan/base/json.h"
#include "caravan/data/dataset.h"

namespace caravan::data {

// Keys: users, items, interactions, density, length {min, mean, median, p90, max}, ties {interactions, users,
// test_items}, repeats {interactions, users}, popularity {max, gini, top_1_percent, top_10_percent, without_training},
// text {titles, categories, text, codes}, time {first, last} where known, numbering_leak where the ids are numbers.
// Popularity counts training interactions only.
Json make_report(const Dataset& data);

std::string format_report(const Json& report);

// The Gini coefficient of non-negative counts: 0 where all are equal, 1 - 1/n where one has all.
double gini(std::vector<int64_t> counts);

}  // namespace caravan::data
