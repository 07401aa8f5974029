// An objective is a function of a model and a batch. The training loop knows no more than this: neither the family nor
// the method.
//
//   const Objective& objective = find_objective("next_token");
//   Tensor sum = objective.loss(model, batch, {});     // over the batch's targets, differentiable, fp32
//   (sum / target_count).backward();                   // the loop divides by the targets of all its batches
//
// Adding one touches its file and one line of objectives.inc.
#pragma once

#include <string>
#include <vector>

#include "caravan/models/heads.h"
#include "caravan/train/batch.h"

namespace caravan::train {

struct ObjectiveOptions {
  double label_smoothing = 0.0;
  double item_weight = 1.0;   // codes_and_items: of the items' loss beside the codes'
  int64_t sampled_items = 0;  // codes_and_items: random items in the softmax over items; 0: all items
};

// Sums over targets; divide by `targets`.
struct Measurement {
  double loss = 0;
  int64_t correct = 0, targets = 0;
};

struct Objective {
  std::string name;
  Tensor (*loss)(models::Head& model, const Batch& batch, const ObjectiveOptions& options);
  void (*measure)(models::Head& model, const Batch& batch, Measurement& sums);  // without gradients or smoothing
  void (*check)(models::Head& model) = nullptr;  // invalid_argument where the model cannot learn it
};

const Objective& find_objective(const std::string& name);
std::vector<std::string> objective_names();

#define OBJECTIVE(name) Objective objective_##name();
#include "caravan/train/objectives.inc"
#undef OBJECTIVE

}  // namespace caravan::train
