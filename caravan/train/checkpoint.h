// Checkpoints of a run: everything that the next step depends on, written so that an interruption at any instant leaves
// the previous checkpoint or the new one, complete.
//
//   save_checkpoint("run/checkpoints", {.step = 120, .state = json, .tensors = {...}}, write_model);
//   if (auto found = newest_checkpoint("run/checkpoints", warn)) resume(load_checkpoint(*found));
//
// run/checkpoints/step-00000120/ holds model/ (a Hugging Face folder, fp32), training.safetensors (optimizer, average),
// state.json and manifest.json (sizes and CRC-32C of all files). It is written under a temporary name, flushed and
// renamed. One whose files do not match its manifest counts as absent.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "caravan/base/json.h"

namespace caravan::train {

using at::Tensor;

struct CheckpointParts {
  int64_t step = 0;
  Json state = Json::object();
  std::vector<std::pair<std::string, Tensor>> tensors;
};

std::string checkpoint_name(int64_t step);  // "step-00000120"

// `write_model` writes the folder of the model that it is given the path of.
void save_checkpoint(const std::string& folder, const CheckpointParts& parts,
                     const std::function<void(const std::string& path)>& write_model);

// The newest complete checkpoint's path; damaged ones are passed over and said so. nullopt where there is none.
std::optional<std::string> newest_checkpoint(const std::string& folder,
                                             const std::function<void(const std::string&)>& warn);

struct LoadedCheckpoint {
  std::string model;  // path of the model's folder
  Json state;
  std::map<std::string, Tensor> tensors;
};

LoadedCheckpoint load_checkpoint(const std::string& path);

// Removes all but the newest `keep` checkpoints.
void prune_checkpoints(const std::string& folder, int64_t keep);

void remove_checkpoints(const std::string& folder);  // all of them

// Throws corrupt_file where a file is missing, has another size or another checksum than the manifest says.
void verify_checkpoint(const std::string& path);

}  // namespace caravan::train
