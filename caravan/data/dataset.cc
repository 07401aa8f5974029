// The dataset in memory (users in one array, cut by offsets) and its folder on disk.
#include "caravan/data/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>
#include <utility>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/lines.h"

namespace caravan::data {
namespace {

constexpr int64_t kVersion = 1;
constexpr std::string_view kFormat = "caravan-dataset";

struct User {
  std::string id;
  std::vector<int32_t> items;
  std::vector<double> times;
  LeaveOneOut cuts;
};

const Json& get_list(const Json& object, std::string_view key, std::string_view where) {
  const Json* list = find_member(object, key);
  check_file(list != nullptr && list->is_array(), FileFault::type, where, "\"{}\" must be a list", key);
  return *list;
}

User parse_user(const Json& object, int64_t item_count, std::string_view where) {
  check_file(object.is_object(), FileFault::type, where, "a user must be a JSON object");
  User user{.id = get_string(object, "id", where)};
  for (const Json& item : get_list(object, "items", where)) {
    check_file(item.is_number_unsigned() && item.get<uint64_t>() < static_cast<uint64_t>(item_count), FileFault::range,
               where, "items: expected indexes below {}, got {}", item_count, dump_json(item, -1).substr(0, 40));
    user.items.push_back(item.get<int32_t>());
  }
  if (find_member(object, "times") != nullptr) {
    for (const Json& time : get_list(object, "times", where)) {
      check_file(time.is_number(), FileFault::type, where, "times: expected numbers, got {}",
                 dump_json(time, -1).substr(0, 40));
      user.times.push_back(time.get<double>());
    }
    check_file(user.times.size() == user.items.size(), FileFault::layout, where, "{} times for {} items",
               user.times.size(), user.items.size());
  }
  user.cuts = leave_one_out(user.items.size());
  if (find_member(object, "split") != nullptr) {
    const Json& split = get_list(object, "split", where);
    const auto cut = [&](size_t i) { return split.size() == 2 && split[i].is_number_unsigned(); };
    check_file(cut(0) && cut(1), FileFault::type, where, "split: expected two numbers");
    user.cuts = {split[0].get<size_t>(), split[1].get<size_t>()};
    check_file(user.cuts.train_end <= user.cuts.validation_end && user.cuts.validation_end <= user.items.size(),
               FileFault::range, where, "split: [{}, {}] does not cut {} items", user.cuts.train_end,
               user.cuts.validation_end, user.items.size());
  }
  return user;
}

void append_number(std::string& to, double number) {
  if (number == std::floor(number) && std::abs(number) < 0x1p53) {
    to += fmt::format("{:.0f}", number);
  } else {
    to += fmt::format("{}", number);  // shortest text that reads back as the same number
  }
}

template <class T, class Append>
void append_list(std::string& to, std::string_view key, std::span<const T> values, Append append) {
  to += fmt::format(", \"{}\": [", key);
  for (size_t i = 0; i < values.size(); ++i) {
    if (i > 0) to += ", ";
    append(to, values[i]);
  }
  to += "]";
}

std::string user_line(const Dataset& data, int64_t user) {
  std::string line = "{\"id\": " + dump_json(Json(data.user_id(user)), -1);
  append_list(line, "items", data.sequence(user), [](std::string& to, int32_t item) { to += fmt::format("{}", item); });
  if (data.has_times()) append_list(line, "times", data.times(user), append_number);
  const size_t train_end = data.train_history(user).size(), validation_end = data.test_history(user).size();
  const LeaveOneOut usual = leave_one_out(data.sequence(user).size());
  if (train_end != usual.train_end || validation_end != usual.validation_end)
    line += fmt::format(", \"split\": [{}, {}]", train_end, validation_end);
  return line + "}\n";
}

// The dataset's own files, and what `caravan items build` puts beside them: codes of another numbering of items would
// be wrong, so they go with the dataset that they were made for.
bool is_dataset_file(const std::string& name) {
  constexpr std::string_view kNames[] = {"dataset.json",
                                         "items.jsonl",
                                         "sequences.jsonl",
                                         "codes.json",
                                         "codebooks.safetensors",
                                         "codes_report.json",
                                         "codes_report.html",
                                         "tokenizer.json",
                                         "tokenizer_config.json",
                                         "special_tokens_map.json",
                                         "codes.lock"};
  constexpr std::string_view kUnfinished = "codes.lock.files.tmp-";  // of a build that was killed
  return name.starts_with(kUnfinished) || std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

Json counts(const Dataset& data) {
  size_t train = 0, validation = 0, test = 0;
  for (int64_t u = 0; u < data.user_count(); ++u) {
    train += data.train_history(u).size();
    validation += data.validation_targets(u).size();
    test += data.test_targets(u).size();
  }
  return {{"users", data.user_count()},
          {"items", data.items.size()},
          {"interactions", data.interaction_count()},
          {"train", train},
          {"validation", validation},
          {"test", test}};
}

// A file that lost its last lines is well formed: only the counts tell.
void check_count(const Dataset& data, const std::string& folder, std::string_view key, int64_t found,
                 std::string_view file) {
  const std::string path = folder + "/dataset.json";
  const Json* said = find_member(data.description, "counts");
  if (said == nullptr) return;
  check_file(said->is_object(), FileFault::type, path, "\"counts\" must be an object");
  const int64_t expected = get_int(*said, key, path, {.min = 0}, found);
  check_file(found == expected, FileFault::truncated, fmt::format("{}/{}", folder, file),
             "{} {} in the folder, but dataset.json counts {}: lines were lost or added; prepare the dataset again",
             found, key, expected);
}

}  // namespace

LeaveOneOut leave_one_out(size_t n) { return n < 3 ? LeaveOneOut{n, n} : LeaveOneOut{n - 2, n - 1}; }

std::span<const int32_t> Dataset::slice(int64_t user, int from, int to) const {
  const Cuts& cuts = cuts_[static_cast<size_t>(user)];
  const uint64_t at[] = {cuts.begin, cuts.train_end, cuts.validation_end, cuts.end};
  return {sequence_items_.data() + at[from], sequence_items_.data() + at[to]};
}

std::span<const double> Dataset::times(int64_t user) const {
  if (times_.empty()) return {};
  const Cuts& cuts = cuts_[static_cast<size_t>(user)];
  return {times_.data() + cuts.begin, times_.data() + cuts.end};
}

void Dataset::add_user(std::string id, std::span<const int32_t> sequence, std::span<const double> times,
                       size_t train_end, size_t validation_end) {
  check(train_end <= validation_end && validation_end <= sequence.size(), ErrorCode::invalid_argument,
        "user '{}': the cuts {} and {} do not fit a sequence of {}", id, train_end, validation_end, sequence.size());
  const bool first = sequence_items_.empty();
  check(times.empty() ? (sequence.empty() || times_.empty()) : times.size() == sequence.size(),
        ErrorCode::invalid_argument, "user '{}': {} times for {} interactions", id, times.size(), sequence.size());
  check(times.empty() || first || !times_.empty(), ErrorCode::invalid_argument,
        "user '{}' has times, the users before have none", id);
  for (const int32_t item : sequence) {
    check(item >= 0 && item < items.size(), ErrorCode::invalid_argument, "user '{}': item index {} of {} items", id,
          item, items.size());
  }
  const uint64_t begin = sequence_items_.size();
  cuts_.push_back({begin, begin + train_end, begin + validation_end, begin + sequence.size()});
  user_ids_.push_back(std::move(id));
  sequence_items_.insert(sequence_items_.end(), sequence.begin(), sequence.end());
  times_.insert(times_.end(), times.begin(), times.end());
}

void Dataset::add_user(std::string id, std::span<const int32_t> sequence, std::span<const double> times) {
  const LeaveOneOut cuts = leave_one_out(sequence.size());
  add_user(std::move(id), sequence, times, cuts.train_end, cuts.validation_end);
}

void Dataset::reserve(int64_t users, int64_t interactions, bool with_times) {
  user_ids_.reserve(static_cast<size_t>(users));
  cuts_.reserve(static_cast<size_t>(users));
  sequence_items_.reserve(static_cast<size_t>(interactions));
  if (with_times) times_.reserve(static_cast<size_t>(interactions));
}

void Dataset::count_items() {
  std::vector<int64_t> train_counts(static_cast<size_t>(items.size()), 0);
  for (int64_t u = 0; u < user_count(); ++u) {
    for (const int32_t item : train_history(u)) ++train_counts[static_cast<size_t>(item)];
  }
  for (int64_t i = 0; i < items.size(); ++i) items.set_count(i, train_counts[static_cast<size_t>(i)]);
}

Dataset read_dataset(const std::string& folder) {
  check(is_folder(folder), ErrorCode::not_found, "{}: {}; `caravan items prepare` makes one", folder,
        file_exists(folder) ? "a file, where a dataset's folder is expected" : "no such folder");
  const std::string path = folder + "/dataset.json";
  check(file_exists(path), ErrorCode::not_found,
        "{}: the folder holds no dataset.json; a dataset folder is made by `caravan items prepare`", folder);
  Dataset data;
  data.description = parse_json(read_file(path), path);
  check_file(get_string(data.description, "format", path, "") == kFormat, FileFault::magic, path,
             "\"format\" must be \"{}\"", kFormat);
  const int64_t version = get_int(data.description, "version", path);
  check_file(version == kVersion, FileFault::version, path, "version {} of the dataset format; this program reads {}",
             version, kVersion);
  data.items = items::read_catalogue(folder + "/items.jsonl");
  check_count(data, folder, "items", data.items.size(), "items.jsonl");  // or the sequences' indexes were to blame

  std::unordered_map<std::string, size_t> lines;  // user id -> line
  const std::string sequences = folder + "/sequences.jsonl";
  bool timed = false;
  read_jsonl(sequences, [&](const Json& object, size_t line) {
    const std::string where = fmt::format("{}:{}", sequences, line);
    User user = parse_user(object, data.items.size(), where);
    const auto [at, added] = lines.emplace(user.id, line);
    check_file(added, FileFault::duplicate, where, "the user '{}' stands in line {} already", user.id, at->second);
    if (data.interaction_count() == 0) timed = !user.times.empty();
    check_file(user.items.empty() || timed == !user.times.empty(), FileFault::layout, where,
               "either all users have \"times\" or none");
    data.add_user(std::move(user.id), user.items, user.times, user.cuts.train_end, user.cuts.validation_end);
  });
  check_count(data, folder, "users", data.user_count(), "sequences.jsonl");
  check_count(data, folder, "interactions", data.interaction_count(), "sequences.jsonl");
  data.count_items();
  return data;
}

void write_dataset(const Dataset& data, const std::string& folder) {
  AtomicFolder out(folder, is_dataset_file);
  items::write_catalogue(data.items, out.path() + "/items.jsonl");
  AtomicFile sequences(out.path() + "/sequences.jsonl");
  for (int64_t u = 0; u < data.user_count(); ++u) sequences.write(user_line(data, u));
  sequences.commit();

  Json description = {{"format", kFormat}, {"version", kVersion}, {"counts", counts(data)}};
  for (const auto& [key, value] : data.description.items()) {
    if (!description.contains(key)) description[key] = value;
  }
  write_file(out.path() + "/dataset.json", dump_json(description) + "\n");
  out.commit();
}

}  // namespace caravan::data
