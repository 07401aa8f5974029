#include "caravan/train/objective.h"

#include "caravan/base/error.h"
#include "caravan/base/nearest.h"

namespace caravan::train {
namespace {

const std::vector<Objective>& objectives() {
  static const std::vector<Objective> all = {
#define OBJECTIVE(name) objective_##name(),
#include "caravan/train/objectives.inc"
#undef OBJECTIVE
  };
  return all;
}

}  // namespace

std::vector<std::string> objective_names() {
  std::vector<std::string> names;
  for (const Objective& objective : objectives()) names.push_back(objective.name);
  return names;
}

const Objective& find_objective(const std::string& name) {
  std::string known;
  for (const Objective& objective : objectives()) {
    if (objective.name == name) return objective;
    known += (known.empty() ? "" : ", ") + objective.name;
  }
  fail(ErrorCode::invalid_argument, "the objective '{}' is not known{}; known are {}", name,
       did_you_mean(name, objective_names()), known);
}

}  // namespace caravan::train
