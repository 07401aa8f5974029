// Checkpoints split over several files, with an index (model.safetensors.index.json, pytorch_model.bin.index.json,
// flax_model.msgpack.index.json): {"metadata": {"total_size": N}, "weight_map": {tensor: file}}.
//
//   const ShardIndex index = read_shard_index(folder + "/model.safetensors.index.json");
//   for (const std::string& file : index.files) open(folder + "/" + file);
//   check_shards(index, names_per_file, path);
//
// Source: transformers' sharded checkpoints (huggingface_hub's split rule). File names are untrusted: plain names only.
// Links are followed: the Hugging Face cache consists of them.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "caravan/base/json.h"
#include "caravan/formats/format.h"

namespace caravan::formats {

struct ShardIndex {
  std::vector<std::string> files;                   // sorted
  std::unordered_map<std::string, size_t> file_of;  // tensor name -> position in files
};

// Throws corrupt_file: path (a name that is no plain file name), type, json, duplicate, limit.
ShardIndex read_shard_index(const std::string& path);

// Throws where the tensors found in the files (names[i] are those of files[i]) are not exactly the index's: duplicate
// for a tensor in two files, layout for missing, unlisted and misplaced ones, all named at once.
void check_shards(const ShardIndex& index, const std::vector<std::vector<std::string_view>>& names,
                  std::string_view where);

// Opens what a checkpoint is made of: the file `at` names; in a folder the file `single`, or the shards of `index`.
// `open` takes a file's path and returns the names of its tensors as an index lists them; they are checked against it.
void open_files(const Location& at, std::string_view single, std::string_view index,
                const std::function<std::vector<std::string>(const std::string& path)>& open);

struct ShardPlan {
  std::vector<std::vector<TensorInfo>> shards;  // in the order of the plan; at least one
  int64_t total_bytes = 0;
  int64_t total_parameters = 0;
};

// Fills a shard until the next tensor would make it larger than max_bytes; a tensor larger than that has its own.
ShardPlan plan_shards(std::vector<TensorInfo> plan, int64_t max_bytes);

// "model.safetensors" where count is 1, else "model-00001-of-00003.safetensors" (i counts from 0).
std::string shard_name(std::string_view stem, std::string_view extension, size_t i, size_t count);

Json make_shard_index(const ShardPlan& plan, std::string_view stem, std::string_view extension);

}  // namespace caravan::formats
