// The folder that a run is written to: who holds it, and what an earlier run left there.
//
//   const auto lock = lock_run_folder("runs/first");     // nobody else trains there until it goes
//   if (overwrite) remove_run("runs/first", {{"model.path", config.model.path}});
//
// A run writes config.toml, metrics.jsonl, report.html, tensorboard/, checkpoints/, best/ and final/. Only what a run
// has written is ever removed.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "caravan/base/file_lock.h"

namespace caravan::train {

// Makes the folder where there is none. Throws busy where another process trains there.
std::unique_ptr<const FileLock> lock_run_folder(const std::string& folder);

bool holds_run(const std::string& folder);  // models or checkpoints: what a run is there for

// A path that a setting names: {"model.path", "runs/first/best"}; "" names none.
using NamedPath = std::pair<std::string, std::string>;

// Removes what an earlier run has left, all but the lock. Throws invalid_argument, with everything still there, where a
// model's folder holds files of somebody else, or where the new run reads (`inputs`) what would go.
void remove_run(const std::string& folder, const std::vector<NamedPath>& inputs);

}  // namespace caravan::train
