// A prepared recommendation dataset: the catalogue, one time-ordered sequence of item indexes a user, and the split.
// Training, item codes, baselines and evaluation all read it through this.
//
//   Dataset data = read_dataset("beauty");                         // what `caravan items prepare` wrote
//   for (int64_t u = 0; u < data.user_count(); ++u) {
//     train(data.train_history(u));                                // everything that training may see
//     if (data.test_target(u) >= 0) evaluate(data.test_history(u), data.test_target(u));
//   }
//
// Split: each sequence is cut into train | validation | test parts. Leave-one-out puts the last interaction into test
// and the second last into validation; users with fewer than 3 interactions are train only. A time split cuts every
// sequence at two points in time, so a part may hold any number of items. Statistics (Item::count) come from the train
// parts alone.
//
// On disk: dataset.json (version, source, settings, counts, report), items.jsonl (items/catalogue.h), sequences.jsonl:
// one user a line, {"id": "A1YJEY40YUW4SE", "items": [5, 17, 2], "times": [1.5, 2, 2]}. "times" is optional; "split":
// [a, b] (train = items[0:a], validation = items[a:b], test = items[b:]) is written where the split is not
// leave-one-out.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/base/json.h"
#include "caravan/items/catalogue.h"

namespace caravan::data {

constexpr int32_t kNoItem = -1;

class Dataset {
 public:
  items::Catalogue items;             // N items; a sequence's numbers are indexes into it
  Json description = Json::object();  // dataset.json's source, settings and report, kept as they are

  int64_t user_count() const { return static_cast<int64_t>(user_ids_.size()); }
  int64_t interaction_count() const { return static_cast<int64_t>(sequence_items_.size()); }
  const std::string& user_id(int64_t user) const { return user_ids_[static_cast<size_t>(user)]; }

  // Oldest first. Ties in time stand in the order of the source file.
  std::span<const int32_t> sequence(int64_t user) const { return slice(user, 0, 3); }
  std::span<const double> times(int64_t user) const;  // as long as sequence(user), in the source's unit; empty: unknown
  bool has_times() const { return !times_.empty(); }

  std::span<const int32_t> train_history(int64_t user) const { return slice(user, 0, 1); }
  std::span<const int32_t> validation_history(int64_t user) const { return slice(user, 0, 1); }
  std::span<const int32_t> validation_targets(int64_t user) const { return slice(user, 1, 2); }
  std::span<const int32_t> test_history(int64_t user) const { return slice(user, 0, 2); }  // validation included
  std::span<const int32_t> test_targets(int64_t user) const { return slice(user, 2, 3); }

  // The next item after the history, or kNoItem where the user has none in that part. Leave-one-out: the only one.
  int32_t validation_target(int64_t user) const { return first(validation_targets(user)); }
  int32_t test_target(int64_t user) const { return first(test_targets(user)); }

  // Building one: users in turn. `items` holds indexes; times is empty for all users or as long as the sequence for
  // all; 0 <= train_end <= validation_end <= the length. invalid_argument where that does not hold.
  void add_user(std::string id, std::span<const int32_t> sequence, std::span<const double> times, size_t train_end,
                size_t validation_end);
  void add_user(std::string id, std::span<const int32_t> sequence,
                std::span<const double> times = {});  // leave-one-out

  void reserve(int64_t users, int64_t interactions, bool with_times);

  // Sets Item::count from the train parts. To be called when all users are there; read_dataset() does.
  void count_items();

 private:
  struct Cuts {
    uint64_t begin, train_end, validation_end, end;
  };
  std::span<const int32_t> slice(int64_t user, int from, int to) const;  // between cuts 0..3
  static int32_t first(std::span<const int32_t> part) { return part.empty() ? kNoItem : part.front(); }

  std::vector<std::string> user_ids_;
  std::vector<Cuts> cuts_;
  std::vector<int32_t> sequence_items_;
  std::vector<double> times_;
};

// Where leave-one-out cuts a sequence of n interactions: {train_end, validation_end}.
struct LeaveOneOut {
  size_t train_end, validation_end;
};
LeaveOneOut leave_one_out(size_t n);

// Throws not_found, and corrupt_file with file and line for anything that breaks the format.
Dataset read_dataset(const std::string& folder);

// The folder appears complete or not at all. A dataset that is there already is replaced, and item codes that were made
// for it go; any other folder that holds something is refused.
void write_dataset(const Dataset& dataset, const std::string& folder);

}  // namespace caravan::data
