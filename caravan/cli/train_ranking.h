// The ranking metric of `caravan train`: the model in training as a recommender, by the protocol of `caravan eval
// recommend --split validation`.
//
//   train::Run run(config, {.rank_items = rank_items});
#pragma once

#include "caravan/train/run.h"

namespace caravan::cli {

// recall, ndcg, mrr and the task's own metric at its K: {"ndcg@10": 0.041, ...}, and the number of users. Seen items
// are excluded.
std::pair<train::Metrics, int64_t> rank_items(models::CausalLm& model, const train::RankingTask& task);

}  // namespace caravan::cli
