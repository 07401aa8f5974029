#include "caravan/data/prepare.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/temporary_folder.h"
#include "caravan/data/report.h"

namespace caravan::data {
namespace {

Interactions log_of(const std::string& csv) {
  TemporaryFolder folder;
  write_file(folder / "a.csv", csv);
  const std::vector<std::string> paths = {folder / "a.csv"};
  return read_interactions(paths, {});
}

// "user: item item | item | item" with original ids and the split's bars, users joined by "; ".
std::string shown(const Dataset& data) {
  std::string text;
  for (int64_t u = 0; u < data.user_count(); ++u) {
    text += (u == 0 ? "" : "; ") + data.user_id(u) + ":";
    for (const int32_t item : data.train_history(u)) text += " " + data.items[item].id;
    text += " |";
    for (const int32_t item : data.validation_targets(u)) text += " " + data.items[item].id;
    text += " |";
    for (const int32_t item : data.test_targets(u)) text += " " + data.items[item].id;
  }
  return text;
}

constexpr const char* kLog =
    "user,item,ts\n"
    "u,a,3\nv,b,1\nu,b,1\nu,c,3\nu,d,2\nu,a,3\nv,a,1\nv,d,1\n";

TEST(Prepare, OrdersByTimeAndKeepsTheFilesOrderAmongTies) {
  EXPECT_EQ(shown(prepare(log_of(kLog), {}, {})), "u: b d a | c | a; v: b | a | d");
}

TEST(Prepare, HandlesDuplicatesByPolicy) {
  EXPECT_EQ(shown(prepare(log_of(kLog), {}, {.duplicates = Duplicates::first})), "u: b d | a | c; v: b | a | d");
  EXPECT_EQ(shown(prepare(log_of(kLog), {}, {.duplicates = Duplicates::last})), "u: b d | c | a; v: b | a | d");
  EXPECT_EQ(shown(prepare(log_of("user,item\nu,a\nu,a\nu,b\nu,a\n"), {}, {.duplicates = Duplicates::consecutive})),
            "u: a | b | a");
}

TEST(Prepare, KeepsTheKCoreByRepeatedRounds) {
  // e has one user; without it w has two items only; without w, c has one.
  const std::string csv = "user,item\nu,a\nu,b\nu,d\nv,a\nv,b\nv,d\nw,c\nw,e\nw,a\nu,c\n";
  const Dataset data = prepare(log_of(csv), {}, {.user_core = 3, .item_core = 2});
  EXPECT_EQ(shown(data), "u: a | b | d; v: a | b | d");
  EXPECT_EQ(data.description["filters"]["k_core"], 4);
  EXPECT_EQ(data.items.size(), 3);
  EXPECT_THROW(prepare(log_of(csv), {}, {.user_core = 5}), Error);
}

TEST(Prepare, KeepsTheNewestOfLongSequences) {
  EXPECT_EQ(shown(prepare(log_of(kLog), {}, {.max_length = 3})), "u: a | c | a; v: b | a | d");
}

TEST(Prepare, SplitsByTimeAtGlobalCuts) {
  const std::string csv = "user,item,ts\nu,a,1\nu,b,5\nu,c,9\nv,a,6\nv,b,7\nw,c,10\n";
  EXPECT_EQ(shown(prepare(log_of(csv), {}, {.split = Split::time, .validation_from = 5, .test_from = 7})),
            "u: a | b | c; v: | a | b; w: | | c");
  const Dataset data = prepare(log_of(csv), {}, {.split = Split::time});  // the last 20% and 10% of six
  EXPECT_EQ(shown(data), "u: a b | c |; v: a b | |; w: | | c");
  EXPECT_THROW(prepare(log_of(csv), {}, {.split = Split::time, .validation_from = 8, .test_from = 7}), Error);
  EXPECT_THROW(prepare(log_of("user,item\nu,a\n"), {}, {.split = Split::time}), Error);
  // Nothing is earlier than the validation part: nothing could be learned.
  EXPECT_THROW(prepare(log_of(csv), {}, {.split = Split::time, .validation_from = -8, .test_from = 7}), Error);
}

TEST(Prepare, CountsDescriptionsThatItLeavesOut) {
  Descriptions about;
  about.items["a"] = {.id = "a", .title = "A"};
  about.items["z"] = {.id = "z", .title = "Z"};
  EXPECT_EQ(prepare(log_of(kLog), about, {}).description["filters"]["descriptions_unused"], 1);
  EXPECT_EQ(prepare(log_of(kLog), about, {.keep_cold_items = true}).description["filters"]["descriptions_unused"], 0);
}

TEST(Prepare, CountsItemsInTheTrainingPartAlone) {
  const Dataset data = prepare(log_of(kLog), {}, {});
  EXPECT_EQ(data.items[*data.items.find("a")].count, 1);
  EXPECT_EQ(data.items[*data.items.find("c")].count, 0);
  EXPECT_EQ(data.items[*data.items.find("b")].count, 2);
}

TEST(Prepare, ShufflesItemIndexesBySeed) {
  std::string csv = "user,item\n";
  for (int i = 0; i < 200; ++i) csv += fmt::format("{},{}\n", i / 10, i);
  const Dataset a = prepare(log_of(csv), {}, {.seed = 1}), b = prepare(log_of(csv), {}, {.seed = 1});
  const Dataset c = prepare(log_of(csv), {}, {.seed = 2});
  EXPECT_EQ(shown(a), shown(c));
  int64_t in_place = 0, next = 0;
  for (int64_t i = 0; i < 200; ++i) {
    EXPECT_EQ(a.items[i].id, b.items[i].id);
    in_place += a.items[i].id == c.items[i].id;
    next += i > 0 && std::stoi(a.items[i].id) == std::stoi(a.items[i - 1].id) + 1;
  }
  EXPECT_LT(in_place, 20);
  EXPECT_LT(next, 20);
}

TEST(RandomOrder, IsAPermutationAndStaysTheSame) {
  const std::vector<int32_t> order = random_order(1000, 7);
  EXPECT_EQ(std::set<int32_t>(order.begin(), order.end()).size(), 1000u);
  EXPECT_EQ(random_order(5, 0), (std::vector<int32_t>{2, 3, 1, 4, 0}));
  EXPECT_TRUE(random_order(0, 0).empty());
}

TEST(Report, SaysWhatTheDataLooksLike) {
  const Dataset data = prepare(log_of(kLog), {}, {});
  const Json& report = data.description["report"];
  EXPECT_EQ(report["users"], 2);
  EXPECT_EQ(report["items"], 4);
  EXPECT_EQ(report["interactions"], 8);
  EXPECT_DOUBLE_EQ(report["density"], 1.0);
  EXPECT_EQ(report["length"]["max"], 5);
  EXPECT_EQ(report["ties"], (Json{{"interactions", 4}, {"users", 2}, {"test_items", 2}}));
  EXPECT_EQ(report["repeats"], (Json{{"interactions", 1}, {"users", 1}}));
  EXPECT_EQ(report["popularity"]["max"], 2);
  EXPECT_EQ(report["popularity"]["without_training"], 1);
  EXPECT_DOUBLE_EQ(report["time"]["last"], 3);
  EXPECT_FALSE(report.contains("numbering_leak"));
  EXPECT_NE(format_report(report).find("interactions  8 (density 100.0000 %)"), std::string::npos)
      << format_report(report);
}

TEST(Report, FindsIdsThatGiveTheTestItemAway) {
  EXPECT_DOUBLE_EQ(
      prepare(log_of("user,item\n1,1\n1,2\n1,3\n2,4\n2,5\n2,9\n"), {}, {}).description["report"]["numbering_leak"],
      0.5);
}

TEST(Gini, MeasuresInequality) {
  EXPECT_DOUBLE_EQ(gini({5, 5, 5, 5}), 0.0);
  EXPECT_DOUBLE_EQ(gini({0, 0, 0, 8}), 0.75);
  EXPECT_DOUBLE_EQ(gini({1, 3}), 0.25);
  EXPECT_DOUBLE_EQ(gini({0}), 0.0);
}

}  // namespace
}  // namespace caravan::data
