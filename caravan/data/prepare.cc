#include "caravan/data/prepare.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "caravan/base/error.h"
#include "caravan/data/report.h"

namespace caravan::data {
namespace {

using Rows = std::vector<Interaction>;

// User after user in order of first appearance, each one's rows by time; all else as in the file.
Rows ordered(Rows rows, int64_t users, bool has_times) {
  std::vector<size_t> begins(static_cast<size_t>(users) + 1, 0);
  for (const Interaction& row : rows) ++begins[static_cast<size_t>(row.user) + 1];
  for (size_t u = 1; u < begins.size(); ++u) begins[u] += begins[u - 1];
  std::vector<size_t> at(begins.begin(), begins.end() - 1);
  Rows sorted(rows.size());
  for (const Interaction& row : rows) sorted[at[static_cast<size_t>(row.user)]++] = row;
  const auto earlier = [](const Interaction& a, const Interaction& b) { return a.time < b.time; };
  for (size_t u = 0; has_times && u + 1 < begins.size(); ++u) {
    const auto begin = sorted.begin() + static_cast<int64_t>(begins[u]),
               end = sorted.begin() + static_cast<int64_t>(begins[u + 1]);
    if (!std::is_sorted(begin, end, earlier)) std::stable_sort(begin, end, earlier);
  }
  return sorted;
}

// Calls `use(begin, end)` for each user's rows.
template <class Use>
void for_each_user(Rows& rows, const Use& use) {
  for (size_t begin = 0, end = 0; begin < rows.size(); begin = end) {
    while (end < rows.size() && rows[end].user == rows[begin].user) ++end;
    use(begin, end);
  }
}

constexpr int32_t kRemoved = -1;  // as Interaction::item

int64_t sweep(Rows& rows) {
  return static_cast<int64_t>(std::erase_if(rows, [](const Interaction& row) { return row.item == kRemoved; }));
}

int64_t drop_duplicates(Rows& rows, Duplicates policy, int64_t item_count) {
  if (policy == Duplicates::keep) return 0;
  std::vector<int32_t> seen_by(static_cast<size_t>(item_count), -1);  // the last user that had the item
  for_each_user(rows, [&](size_t begin, size_t end) {
    const int32_t user = rows[begin].user;
    int32_t previous = kRemoved;
    for (size_t k = 0; k < end - begin; ++k) {
      Interaction& row = rows[policy == Duplicates::last ? end - 1 - k : begin + k];
      int32_t& seen = seen_by[static_cast<size_t>(row.item)];
      const bool again = policy == Duplicates::consecutive ? row.item == previous : seen == user;
      previous = row.item, seen = user;
      if (again) row.item = kRemoved;
    }
  });
  return sweep(rows);
}

struct Core {
  int64_t rounds = 0, interactions = 0;
};

Core keep_core(Rows& rows, const PrepareOptions& options, int64_t users, int64_t item_count) {
  Core removed;
  if (options.user_core <= 1 && options.item_core <= 1) return removed;
  for (;;) {
    std::vector<int64_t> of_user(static_cast<size_t>(users), 0), of_item(static_cast<size_t>(item_count), 0);
    for (const Interaction& row : rows) {
      ++of_user[static_cast<size_t>(row.user)];
      ++of_item[static_cast<size_t>(row.item)];
    }
    const auto n = static_cast<int64_t>(std::erase_if(rows, [&](const Interaction& row) {
      return of_user[static_cast<size_t>(row.user)] < options.user_core ||
             of_item[static_cast<size_t>(row.item)] < options.item_core;
    }));
    if (n == 0) return removed;
    removed.interactions += n;
    ++removed.rounds;
  }
}

int64_t keep_newest(Rows& rows, int64_t max_length) {
  if (max_length <= 0) return 0;
  for_each_user(rows, [&](size_t begin, size_t end) {
    const auto limit = static_cast<size_t>(max_length);
    for (size_t i = begin; i + limit < end; ++i) rows[i].item = kRemoved;
  });
  return sweep(rows);
}

// The items of the dataset in shuffled order, and where each number of the log's went (-1: left out).
struct Numbering {
  std::vector<items::Item> items;
  std::vector<int32_t> index_of;
  int64_t cold = 0, described = 0;
};

Numbering number_items(const Rows& rows, const Interner& ids, const Descriptions& about,
                       const PrepareOptions& options) {
  std::vector<bool> used(static_cast<size_t>(ids.size()), false);
  for (const Interaction& row : rows) used[static_cast<size_t>(row.item)] = true;
  std::vector<std::string> kept;  // in order of first appearance, then cold ones by id
  Numbering numbering{.index_of = std::vector<int32_t>(used.size(), -1)};
  std::vector<int32_t> numbers;
  for (int32_t i = 0; i < static_cast<int32_t>(ids.size()); ++i) {
    if (used[static_cast<size_t>(i)]) kept.emplace_back(ids.view(i)), numbers.push_back(i);
  }
  const size_t warm = kept.size();
  if (options.keep_cold_items) {
    for (const auto& [id, item] : about.items) {
      const int32_t number = ids.find(id);
      if (number < 0 || !used[static_cast<size_t>(number)]) kept.push_back(id);
    }
    std::sort(kept.begin() + static_cast<int64_t>(warm), kept.end());
  }
  numbering.cold = static_cast<int64_t>(kept.size() - warm);
  numbering.items.resize(kept.size());
  const std::vector<int32_t> order = random_order(static_cast<int64_t>(kept.size()), options.seed);
  for (size_t i = 0; i < kept.size(); ++i) {
    items::Item& item = numbering.items[static_cast<size_t>(order[i])];
    const auto known = about.items.find(kept[i]);
    if (known != about.items.end()) item = known->second, ++numbering.described;
    item.id = kept[i];
    if (i < warm) numbering.index_of[static_cast<size_t>(numbers[i])] = order[i];
  }
  return numbering;
}

struct TimeCuts {
  double validation_from, test_from;
};

TimeCuts find_time_cuts(const Rows& rows, const PrepareOptions& options) {
  std::vector<double> times;
  times.reserve(rows.size());
  for (const Interaction& row : rows) times.push_back(row.time);
  const auto after = [&](size_t tenths) {
    const auto at = times.begin() + static_cast<int64_t>(std::min(times.size() - 1, times.size() * tenths / 10));
    std::nth_element(times.begin(), at, times.end());
    return *at;
  };
  const TimeCuts cuts{options.validation_from ? *options.validation_from : after(8),
                      options.test_from ? *options.test_from : after(9)};
  check(cuts.validation_from <= cuts.test_from, ErrorCode::invalid_argument,
        "the time split's validation begins at {}, after its test part at {}", cuts.validation_from, cuts.test_from);
  return cuts;
}

Dataset make_dataset(Rows& rows, const Interner& users, Numbering numbering, const PrepareOptions& options,
                     bool has_times) {
  std::optional<TimeCuts> cuts;
  if (options.split == Split::time) cuts = find_time_cuts(rows, options);
  Dataset data;
  data.items = items::Catalogue(std::move(numbering.items));
  std::vector<int32_t> sequence;
  std::vector<double> times;
  int64_t kept_users = 0, trained = 0;
  for_each_user(rows, [&](size_t, size_t) { ++kept_users; });
  data.reserve(kept_users, static_cast<int64_t>(rows.size()), has_times);
  for_each_user(rows, [&](size_t begin, size_t end) {
    sequence.clear(), times.clear();
    for (size_t i = begin; i < end; ++i) {
      sequence.push_back(numbering.index_of[static_cast<size_t>(rows[i].item)]);
      if (has_times) times.push_back(rows[i].time);
    }
    LeaveOneOut split = leave_one_out(sequence.size());
    if (cuts) {
      const auto before = [&](double time) {
        return static_cast<size_t>(std::lower_bound(times.begin(), times.end(), time) - times.begin());
      };
      split = {before(cuts->validation_from), before(cuts->test_from)};
    }
    trained += static_cast<int64_t>(split.train_end);
    data.add_user(std::string(users.view(rows[begin].user)), sequence, times, split.train_end, split.validation_end);
  });
  check(!cuts || trained > 0, ErrorCode::invalid_argument,
        "the time split leaves nothing to train on: its validation begins at {}, and no interaction is earlier "
        "(--validation-from)",
        cuts ? cuts->validation_from : 0);
  data.count_items();
  data.description["settings"]["split"] = "leave-one-out";
  if (cuts)
    data.description["settings"]["split"] = {{"validation_from", cuts->validation_from},
                                             {"test_from", cuts->test_from}};
  return data;
}

constexpr std::pair<std::string_view, Duplicates> kDuplicates[] = {{"keep", Duplicates::keep},
                                                                   {"first", Duplicates::first},
                                                                   {"last", Duplicates::last},
                                                                   {"consecutive", Duplicates::consecutive}};

std::string_view name_of(Duplicates policy) {
  for (const auto& [name, value] : kDuplicates) {
    if (value == policy) return name;
  }
  return "";
}

Json bad_rows(const BadRows& log, const BadRows& about) {
  std::vector<std::string> first = log.first;
  first.insert(first.end(), about.first.begin(), about.first.end());
  return {{"skipped", log.count + about.count}, {"first", first}};
}

}  // namespace

std::vector<int32_t> random_order(int64_t n, uint64_t seed) {
  std::vector<int32_t> order(static_cast<size_t>(n));
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
  // SplitMix64 (Steele, Lea, Flood 2014) and Fisher-Yates; the bias of the remainder is below 2^-32.
  uint64_t state = seed;
  for (size_t i = order.size(); i > 1; --i) {
    uint64_t z = state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    std::swap(order[i - 1], order[(z ^ (z >> 31)) % i]);
  }
  return order;
}

Duplicates find_duplicates_policy(const std::string& name) {
  for (const auto& [known, value] : kDuplicates) {
    if (known == name) return value;
  }
  fail(ErrorCode::invalid_argument, "--duplicates: expected keep, first, last or consecutive, got '{}'", name);
}

Split find_split(const std::string& name) {
  if (name == "leave-one-out") return Split::leave_one_out;
  check(name == "time", ErrorCode::invalid_argument, "--split: expected leave-one-out or time, got '{}'", name);
  return Split::time;
}

Dataset prepare(Interactions log, const Descriptions& about, const PrepareOptions& options) {
  check(options.split != Split::time || log.has_times, ErrorCode::invalid_argument,
        "a time split needs times, and the log has none; name their column with --time-column");
  const int64_t users = log.users.size(), item_count = log.items.size();
  const auto read = static_cast<int64_t>(log.rows.size());
  Rows rows = ordered(std::exchange(log.rows, {}), users, log.has_times);
  const int64_t repeated = drop_duplicates(rows, options.duplicates, item_count);
  const Core core = keep_core(rows, options, users, item_count);
  check(!rows.empty(), ErrorCode::invalid_argument,
        "no interaction is left of {}: no users with at least {} interactions have items with at least {}", read,
        options.user_core, options.item_core);
  const int64_t cut = keep_newest(rows, options.max_length);
  Numbering numbering = number_items(rows, log.items, about, options);
  const Json filters = {{"read", read},
                        {"low_ratings", log.low_ratings},
                        {"duplicates", repeated},
                        {"k_core", core.interactions},
                        {"k_core_rounds", core.rounds},
                        {"older_than_max_length", cut},
                        {"cold_items_kept", numbering.cold},
                        {"items_described", numbering.described},
                        {"descriptions_unused", std::ssize(about.items) - numbering.described}};
  Dataset data = make_dataset(rows, log.users, std::move(numbering), options, log.has_times);
  data.description["source"] = {{"interactions", log.sources}, {"items", about.sources}};
  Json& settings = data.description["settings"];
  settings["tie_rule"] = log.has_times ? "file order among equal times" : "file order (no times)";
  settings["duplicates"] = name_of(options.duplicates);
  settings["user_core"] = options.user_core;
  settings["item_core"] = options.item_core;
  settings["max_length"] = options.max_length;
  settings["seed"] = options.seed;
  data.description["filters"] = filters;
  data.description["bad_rows"] = bad_rows(log.bad, about.bad);
  if (!log.notes.empty()) data.description["notes"] = log.notes;
  data.description["report"] = make_report(data);
  return data;
}

}  // namespace caravan::data
