#include "caravan/data/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "caravan/data/time.h"

namespace caravan::data {
namespace {

Json lengths(const Dataset& data) {
  std::vector<int64_t> lengths;
  for (int64_t u = 0; u < data.user_count(); ++u) lengths.push_back(static_cast<int64_t>(data.sequence(u).size()));
  if (lengths.empty()) return Json::object();
  std::sort(lengths.begin(), lengths.end());
  const auto at = [&](size_t percent) { return lengths[(lengths.size() - 1) * percent / 100]; };
  const double mean = static_cast<double>(data.interaction_count()) / static_cast<double>(lengths.size());
  return {{"min", lengths.front()}, {"mean", mean}, {"median", at(50)}, {"p90", at(90)}, {"max", lengths.back()}};
}

// Interactions at the time of the one before; users with any; users whose test item only the tie rule tells from the
// one before it.
Json ties(const Dataset& data) {
  int64_t interactions = 0, users = 0, test_items = 0;
  for (int64_t u = 0; u < data.user_count(); ++u) {
    const auto times = data.times(u);
    int64_t tied = 0;
    for (size_t i = 1; i < times.size(); ++i) tied += times[i] == times[i - 1];
    interactions += tied;
    users += tied > 0;
    test_items += times.size() > 1 && data.test_target(u) >= 0 && times.back() == times[times.size() - 2];
  }
  return {{"interactions", interactions}, {"users", users}, {"test_items", test_items}};
}

Json repeats(const Dataset& data) {
  int64_t interactions = 0, users = 0;
  std::vector<int32_t> sorted;
  for (int64_t u = 0; u < data.user_count(); ++u) {
    const auto sequence = data.sequence(u);
    sorted.assign(sequence.begin(), sequence.end());
    std::sort(sorted.begin(), sorted.end());
    int64_t again = 0;
    for (size_t i = 1; i < sorted.size(); ++i) again += sorted[i] == sorted[i - 1];
    interactions += again;
    users += again > 0;
  }
  return {{"interactions", interactions}, {"users", users}};
}

// The part of all counts that the most popular `percent` of the items have (at least one item).
double share_of_top(const std::vector<int64_t>& descending, int64_t total, size_t percent) {
  const size_t n = std::max<size_t>(1, descending.size() * percent / 100);
  const int64_t sum = std::accumulate(descending.begin(), descending.begin() + static_cast<int64_t>(n), int64_t{0});
  return total == 0 ? 0.0 : static_cast<double>(sum) / static_cast<double>(total);
}

Json popularity(const Dataset& data) {
  std::vector<int64_t> counts;
  for (const items::Item& item : data.items) counts.push_back(item.count);
  if (counts.empty()) return Json::object();
  std::sort(counts.rbegin(), counts.rend());
  const int64_t total = std::accumulate(counts.begin(), counts.end(), int64_t{0});
  return {{"max", counts.front()},
          {"gini", gini(counts)},
          {"top_1_percent", share_of_top(counts, total, 1)},
          {"top_10_percent", share_of_top(counts, total, 10)},
          {"without_training", std::count(counts.begin(), counts.end(), 0)}};
}

Json text(const Dataset& data) {
  int64_t titles = 0, categories = 0, text = 0, codes = 0;
  for (const items::Item& item : data.items) {
    titles += !item.title.empty();
    categories += !item.categories.empty();
    text += !item.text.empty();
    codes += !item.codes.empty();
  }
  return {{"titles", titles}, {"categories", categories}, {"text", text}, {"codes", codes}};
}

// The share of users whose test item is "the largest number in the history, plus one"; nullopt where ids are no
// numbers. Chance alone gives about one in the number of items.
std::optional<double> numbering_leak(const Dataset& data) {
  std::vector<double> numbers;
  for (const items::Item& item : data.items) {
    const auto number = parse_number(item.id);
    if (!number) return std::nullopt;
    numbers.push_back(*number);
  }
  int64_t users = 0, leaks = 0;
  for (int64_t u = 0; u < data.user_count(); ++u) {
    if (data.test_target(u) < 0 || data.test_history(u).empty()) continue;
    double largest = -std::numeric_limits<double>::infinity();
    for (const int32_t item : data.test_history(u)) largest = std::max(largest, numbers[static_cast<size_t>(item)]);
    ++users;
    leaks += numbers[static_cast<size_t>(data.test_target(u))] == largest + 1;
  }
  if (users == 0) return std::nullopt;
  return static_cast<double>(leaks) / static_cast<double>(users);
}

double number(const Json& object, const char* key) { return object.value(key, 0.0); }
int64_t count(const Json& object, const char* key) { return object.value(key, int64_t{0}); }

std::string with_commas(int64_t value) {
  std::string digits = fmt::format("{}", value);
  for (int64_t at = static_cast<int64_t>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<size_t>(at), ",");
  return digits;
}

std::string counted(int64_t n, std::string_view noun) {
  return fmt::format("{} {}{}", with_commas(n), noun, n == 1 ? "" : "s");
}

}  // namespace

double gini(std::vector<int64_t> counts) {
  std::sort(counts.begin(), counts.end());
  const double n = static_cast<double>(counts.size());
  double weighted = 0, total = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    weighted += (2.0 * static_cast<double>(i + 1) - n - 1.0) * static_cast<double>(counts[i]);
    total += static_cast<double>(counts[i]);
  }
  return total == 0 ? 0.0 : weighted / (n * total);
}

Json make_report(const Dataset& data) {
  const double cells = static_cast<double>(data.user_count()) * static_cast<double>(data.items.size());
  Json report = {{"users", data.user_count()},
                 {"items", data.items.size()},
                 {"interactions", data.interaction_count()},
                 {"density", cells == 0 ? 0.0 : static_cast<double>(data.interaction_count()) / cells},
                 {"length", lengths(data)},
                 {"ties", ties(data)},
                 {"repeats", repeats(data)},
                 {"popularity", popularity(data)},
                 {"text", text(data)}};
  if (data.has_times()) {
    double first = std::numeric_limits<double>::infinity(), last = -first;
    for (int64_t u = 0; u < data.user_count(); ++u) {
      for (const double time : data.times(u)) first = std::min(first, time), last = std::max(last, time);
    }
    report["time"] = {{"first", first}, {"last", last}};
  }
  if (const auto leak = numbering_leak(data)) report["numbering_leak"] = *leak;
  return report;
}

std::string format_report(const Json& report) {
  const Json &length = report["length"], &tie = report["ties"], &repeat = report["repeats"];
  const Json &popular = report["popularity"], &about = report["text"];
  const int64_t users = count(report, "users"), items = count(report, "items");
  std::string out;
  const auto line = [&](std::string_view name, const std::string& value) {
    out += fmt::format("  {:<14}{}\n", name, value);
  };
  line("users", with_commas(users));
  line("items", with_commas(items));
  line("interactions", fmt::format("{} (density {:.4f} %)", with_commas(count(report, "interactions")),
                                   100 * number(report, "density")));
  line("length",
       fmt::format("mean {:.2f}, median {}, 90% at most {}, from {} to {}", number(length, "mean"),
                   count(length, "median"), count(length, "p90"), count(length, "min"), count(length, "max")));
  if (report.contains("time")) {
    line("ties", fmt::format("{} of {} at the time of the one before; the tie rule decides {}",
                             counted(count(tie, "interactions"), "interaction"), counted(count(tie, "users"), "user"),
                             counted(count(tie, "test_items"), "test item")));
  } else {
    line("ties", "unknown: the log has no times, its order counts");
  }
  line("repeats",
       fmt::format("{} with an item that the user had before ({})",
                   counted(count(repeat, "interactions"), "interaction"), counted(count(repeat, "users"), "user")));
  line("popularity",
       fmt::format("Gini {:.3f}; the top 1% of items have {:.1f}% of the training, the top 10% {:.1f}%; {} without any",
                   number(popular, "gini"), 100 * number(popular, "top_1_percent"),
                   100 * number(popular, "top_10_percent"), counted(count(popular, "without_training"), "item")));
  line("text", fmt::format("{}, {} with categories, {} with other text, {} with codes",
                           counted(count(about, "titles"), "title"), with_commas(count(about, "categories")),
                           with_commas(count(about, "text")), with_commas(count(about, "codes"))));
  constexpr double kSuspicious = 0.005;
  if (number(report, "numbering_leak") > kSuspicious) {
    line(
        "leak",
        fmt::format(
            "for {:.1f}% of the users \"largest id in the history + 1\" is the test item: the source numbers its items "
            "along the sequences. Internal indexes are shuffled; do not show the ids to a model.",
            100 * number(report, "numbering_leak")));
  }
  return out;
}

}  // namespace caravan::data
