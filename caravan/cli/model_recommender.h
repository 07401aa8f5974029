// A checkpoint that recommends, as the evaluation protocol wants it: between the dataset's numbering of items and the
// checkpoint's. Both know the items by their ids.
//
//   eval::Recommender recommend = model_recommender("beauty-model", load, data, {.beams = 50});
#pragma once

#include <optional>
#include <string>

#include "caravan/cli/command.h"
#include "caravan/data/dataset.h"
#include "caravan/eval/recommend.h"
#include "caravan/generate/recommender.h"

namespace caravan::cli {

void add_item_weight(CLI::App& app, std::optional<double>& weight);  // --item-weight

// Throws invalid_argument where the checkpoint does not know an item of the dataset. Lists longer than the beams are
// filled up with data::kNoItem.
eval::Recommender model_recommender(const std::string& folder, const models::LoadOptions& load,
                                    const data::Dataset& data, const generate::RecommenderOptions& options);

}  // namespace caravan::cli
