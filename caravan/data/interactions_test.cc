#include "caravan/data/interactions.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/temporary_folder.h"
#include "caravan/data/history_column.h"

namespace caravan::data {
namespace {

// "user>item@time ..." of a log, in file order.
std::string shown(const Interactions& log) {
  std::string text;
  for (const Interaction& row : log.rows) {
    if (!text.empty()) text += ' ';
    text += fmt::format("{}>{}", log.users.view(row.user), log.items.view(row.item));
    if (log.has_times) text += fmt::format("@{}", row.time);
  }
  return text;
}

Interactions read(const std::string& name, const std::string& text, const ReadOptions& options = {}) {
  TemporaryFolder folder;
  write_file(folder / name, text);
  const std::vector<std::string> paths = {folder / name};
  return read_interactions(paths, options);
}

std::string error_of(const std::string& name, const std::string& text, const ReadOptions& options = {}) {
  try {
    read(name, text, options);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

void expect_error(const std::string& name, const std::string& text, const std::string& part,
                  const ReadOptions& options = {}) {
  const std::string error = error_of(name, text, options);
  EXPECT_NE(error.find(part), std::string::npos) << text << "\n" << error;
}

TEST(Interactions, ReadsTablesOfEveryKind) {
  const std::string expected = "1>10@5 1>11@6 2>10@7";
  EXPECT_EQ(shown(read("a.csv", "userId,movieId,rating,timestamp\n1,10,3,5\n1,11,4.5,6\n2,10,1,7\n")), expected);
  EXPECT_EQ(shown(read("a.tsv", "time\tITEM_ID\tuser\r\n5\t10\t1\r\n6\t11\t1\r\n7\t10\t2")), expected);
  EXPECT_EQ(
      shown(
          read("a.inter",
               "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t10\t3\t5\n1\t11\t3\t6\n2\t10\t1\t7\n")),
      expected);
  EXPECT_EQ(shown(read("a.csv", "\xEF\xBB\xBF\"user_id\"; \"item_id\"; \"ts\"\n\"1\";\"10\";5\n1;11;\"6\"\n2;10; 7\n")),
            expected);
  EXPECT_EQ(
      shown(read("a.csv", "x|y|z\n1|10|5\n1|11|6\n2|10|7\n", {.columns = {.user = "x", .item = "2", .time = "Z"}})),
      expected);
}

TEST(Interactions, ReadsTablesWithoutHeader) {
  EXPECT_EQ(shown(read("ratings.dat", "1::1193::5::978300760\n1::661::3::978302109\n")),
            "1>1193@978300760 1>661@978302109");
  EXPECT_EQ(shown(read("u.data", "196\t242\t3\t881250949\n")), "196>242@881250949");
  EXPECT_EQ(shown(read("a.csv", "u,1,2014-07-22\nu,2,1970-01-02T00:00:01.5\n")), "u>1@1405987200 u>2@86401.5");
  EXPECT_EQ(shown(read("a.csv", "1,2,5\n1,3,4\n")), "1>2 1>3");                      // the third column is a rating
  EXPECT_EQ(shown(read("a.csv", "1,10,5,300\n1,11,4,100\n")), "1>10@300 1>11@100");  // the fourth a time, however small
  EXPECT_EQ(shown(read("a.csv", "1,10,881250949,5\n")), "1>10@881250949");
  EXPECT_EQ(shown(read("a.csv", "1,10,5,x\n")), "1>10");
  EXPECT_EQ(shown(read("a.txt", "1 2 5 881250949\n1 3 4 881250950\n")), "1>2@881250949 1>3@881250950");
  EXPECT_EQ(shown(read("a.csv", "a,b,c\nd,e,f\n", {.header = Header::absent})), "a>b d>e");
  EXPECT_EQ(shown(read("a.csv", "9,8,7\n1,2,3\n", {.header = Header::absent, .columns = {.user = "3", .item = "1"}})),
            "7>9 3>1");
}

// Small numbers in the third column may be times.
TEST(Interactions, SaysWhichColumnNothingReads) {
  ASSERT_EQ(read("a.csv", "1,2,5\n1,3,4\n").notes.size(), 1u);
  EXPECT_NE(read("a.csv", "1,2,5\n1,3,4\n").notes[0].find("column 3 (5 in the first row)"), std::string::npos);
  EXPECT_TRUE(read("a.csv", "1,2,5\n1,3,4\n", {.columns = {.time = "3"}}).notes.empty());
  EXPECT_TRUE(read("a.csv", "1,2,5\n1,3,4\n", {.columns = {.time = "none"}}).notes.empty());
  EXPECT_TRUE(read("a.csv", "1,2,5\n1,3,4\n", {.min_rating = 2}).notes.empty());
  EXPECT_TRUE(read("a.csv", "1,2,881250949\n").notes.empty());
  EXPECT_TRUE(read("a.csv", "1,10,5,300\n").notes.empty());
  EXPECT_TRUE(read("a.csv", "user,item,rating\n1,2,5\n").notes.empty());
}

TEST(Interactions, ReadsQuotedFields) {
  EXPECT_EQ(shown(read("a.csv",
                       "user,review,item\n\"a,\"\"b\"\"\",\"line one\nline two, \"\"x\"\"\",7\nc,plain \"quote\" "
                       "here,8\nd,\"\",9\n")),
            "a,\"b\">7 c>8 d>9");
  EXPECT_EQ(
      shown(read("a.tsv",
                 "user\ttitle\titem\n1\t12\" vinyl\t7\n2\t\"Foo\" bar\t8\n\"3\"\t\"a \"\"b\"\"\"\t9\n4\t\"\t10\n")),
      "1>7 2>8 3>9 4>10");
  EXPECT_EQ(shown(read("a.inter", "user_id:token\titem_id:token\n\"1\"\t7\n")), "\"1\">7");
  // Spaces inside quotes belong to an id, those around a plain one do not.
  EXPECT_EQ(shown(read("a.csv", "user,item\n\" a \",x\n a ,x\na,\" \"\n")), " a >x a>x a> ");
  EXPECT_EQ(shown(read("a.tsv", "user\titem\n\" a \"\tx\n a \tx\n")), " a >x a>x");
}

TEST(Interactions, ReadsSequencesAndPairs) {
  const Interactions log = read("Beauty.txt", "1 10 11 12\n2 10\n\n1 13\n");
  EXPECT_EQ(shown(log), "1>10 1>11 1>12 2>10 1>13");
  EXPECT_FALSE(log.has_times);
  EXPECT_EQ(shown(read("a.txt", "1 1\n1 2\n2 1\n")), "1>1 1>2 2>1");
  EXPECT_EQ(shown(read("a.txt", "1 3 5\n2 3 5\n")), "1>3 1>5 2>3 2>5");  // no times in the last column
}

TEST(Interactions, ReadsJsonLinesAndInterJson) {
  const std::string reviews =
      R"({"reviewerID": "A", "asin": "B1", "overall": 5.0, "unixReviewTime": 1252800000, "reviewText": "a, \"b\""})"
      "\n"
      R"({"reviewerID": "B", "asin": 7, "overall": 2.0, "unixReviewTime": "1252800001"})"
      "\n";
  EXPECT_EQ(shown(read("reviews.json", reviews)), "A>B1@1252800000 B>7@1252800001");
  EXPECT_EQ(shown(read("reviews.jsonl", reviews, {.min_rating = 3})), "A>B1@1252800000");
  EXPECT_EQ(shown(read("a.inter.json", R"({"0": [5, 6], "1": [], "2": ["x"]})")), "0>5 0>6 2>x");
  EXPECT_EQ(shown(read("b.json", "{\n \"0\": [\n  5,\n  6\n ]}")), "0>5 0>6");
}

TEST(Interactions, LeavesOutLowRatingsAndCountsThem) {
  const Interactions log = read("a.csv", "user,item,rating\n1,1,5\n1,2,3.5\n1,3,4\n", {.min_rating = 4});
  EXPECT_EQ(shown(log), "1>1 1>3");
  EXPECT_EQ(log.low_ratings, 1);
}

TEST(Interactions, ABrokenRowIsOneWhateverItsRating) {
  const ReadOptions high{.min_rating = 4};
  expect_error("a.csv", "user,item,rating,ts\n1,1,5,1\n1,2,1,soon\n", "a.csv:3: [type] time", high);
  expect_error("a.csv", "user,item,rating\n1,1,5\n1,,1\n", "a.csv:3: [range] the item id is empty", high);
  expect_error("a.csv", "user,item,rating\n1,1,5\n\xFF,2,1\n", "a.csv:3: [utf8]", high);
  expect_error("a.jsonl", "{\"user\": 1, \"item\": 2, \"rating\": 5}\n{\"user\": 1, \"rating\": 1}\n",
               "a.jsonl:2: [layout] \"item\" is missing", high);
  const Interactions log =
      read("a.csv", "user,item,rating\n1,1,5\n1,,1\n1,2,1\n", {.min_rating = 4, .skip_bad_rows = true});
  EXPECT_EQ(shown(log), "1>1");
  EXPECT_EQ(log.bad.count, 1);
  EXPECT_EQ(log.low_ratings, 1);
}

TEST(Interactions, NamesFileLineAndFaultOfABadRow) {
  expect_error("a.csv", "user,item,ts\n1,2,3\n1,2\n", "a.csv:3: [layout] expected 3 fields as in the first row, got 2");
  expect_error("a.csv", "user,item,ts\n\n1,2,x\n", "a.csv:3: [type] time (column 3): expected a number or a date");
  expect_error("a.csv", "user,item,ts\n1,2,2014-02-30\n", "a.csv:2: [type] time");
  expect_error("a.csv", "user,item,ts\n1,2,nan\n", "a.csv:2: [type] time");
  expect_error("a.csv", "user,item\n1,\n", "a.csv:2: [range] the item id is empty");
  expect_error("a.csv", "user,item\n 	,2\n", "a.csv:2: [range] the user id is empty");
  expect_error("a.csv", "user,item\n1,\xFF\n", "a.csv:2: [utf8]");
  expect_error("a.csv", "user,item\n1,\"2\n3,4\n", "a.csv:2: [layout] field 2: the quote is never closed");
  expect_error("a.csv", "user,item\n1,\"2\"x\n3,4\n", "a.csv:2: [layout] field 2: text behind the closing quote");
  expect_error("a.csv", "user,item,rating\n1,2,good\n", "a.csv:2: [type] rating", {.min_rating = 1});
  expect_error("a.txt", "1 2\n3\n", "a.txt:2: [layout]");
  expect_error("a.jsonl", "{\"user\": 1, \"item\": 2}\n{\"user\": 1, \"item\":\n", "a.jsonl:2: [json]");
  expect_error("a.jsonl", "{\"user\": 1, \"item\": 2}\n{\"user\": 1}\n", "a.jsonl:2: [layout] \"item\" is missing");
  expect_error("a.jsonl", "{\"user\": 1, \"item\": 2}\n{\"user\": 1, \"item\": 2.5}\n", "a.jsonl:2: [type]");
  expect_error("a.jsonl", "{\"user\": 1, \"item\": 2}\n[1]\n", "a.jsonl:2: [type]");
  expect_error("a.inter.json", R"({"7": [1, {"a": 1}]})", "user \"7\": [layout]");
  expect_error("a.inter.json", R"({"7": [1, null]})", "user \"7\": [type]");
  expect_error("a.inter.json", R"({"7": 3})", "user \"7\": [type]");
  expect_error("a.inter.json", R"([1, 2])", "[layout]");
  expect_error("a.inter.json", R"({"7": [1], "7": [2]})", "[duplicate]");
  expect_error("a.inter.json", R"({"7": [1], )", "[json]");
  expect_error("a.csv", "user,item\n1,2\n1\n", "--skip-bad-rows");
}

// These two times are one double.
TEST(Interactions, RefusesTimesThatAreNotExact) {
  const std::string table = "user,item,time\n1,10,1700000000000000001\n1,11,1700000000000000002\n";
  expect_error("a.csv", table, "a.csv:2: ");
  expect_error("a.csv", table, "time (column 3): expected a number below 2^53");
  expect_error("a.csv", table, "divide them by 1000), got '1700000000000000001'");
  expect_error("a.jsonl", R"({"user": "1", "item": "2", "time": 1700000000000000001})",
               "divide them by 1000), got 1700000000000000001");
  expect_error("a.jsonl", R"({"user": "1", "item": "2", "time": "1700000000000000001"})", "divide them by 1000)");
  EXPECT_EQ(read("a.csv", table + "1,12,1700000000000000\n", {.skip_bad_rows = true}).bad.count, 2);
  EXPECT_EQ(shown(read("a.csv", "user,item,time\n1,10,1700000000000001\n")), "1>10@1700000000000001");
}

TEST(Interactions, SkipsBadRowsOnRequestAndSaysWhich) {
  const Interactions log =
      read("a.csv", "user,item,ts\n1,2,3\n1,2\n5,6,x\n\"7,8,9\n1,,4\n3,\"4\",5\n", {.skip_bad_rows = true});
  EXPECT_EQ(shown(log), "1>2@3 3>4@5");
  EXPECT_EQ(log.bad.count, 4);
  ASSERT_EQ(log.bad.first.size(), 4u);
  EXPECT_NE(log.bad.first[2].find("a.csv:5"), std::string::npos) << log.bad.first[2];
  const Interactions json =
      read("a.jsonl", "{\"user\": 1, \"item\": 2}\n{]\n{\"user\": 3, \"item\": 4}\n", {.skip_bad_rows = true});
  EXPECT_EQ(shown(json), "1>2 3>4");
  EXPECT_EQ(json.bad.count, 1);
  std::string many = "user,item\n1,1\n";
  for (int i = 0; i < 100; ++i) many += "oops\n";
  const Interactions counted = read("a.csv", many, {.skip_bad_rows = true});
  EXPECT_EQ(counted.bad.count, 100);
  EXPECT_EQ(counted.bad.first.size(), BadRows::kKept);
}

TEST(Interactions, SaysWhatItCannotTell) {
  expect_error("a.csv", "alpha,beta\nx,y\n", "none of the 2 columns is known to be the user (alpha, beta)");
  expect_error("a.csv", "user,beta\nx,y\n", "known to be the item");
  expect_error("a.csv", "user,item\nx,y\n", "--user-column 'who': no such column; there are 2: user, item",
               {.columns = {.user = "who"}});
  expect_error("a.csv", "user,item\nx,y\n", "the same column", {.columns = {.user = "item"}});
  expect_error("a.csv", "user,item,item\nx,y,z\n",
               "columns 2 and 3 are both called 'item'; say which: --item-column 2");
  expect_error("a.csv", "ts,user,item,ts\n1,x,y,2\n", "columns 1 and 4 are both called 'ts'");
  EXPECT_EQ(shown(read("a.csv", "user,item,item\nx,y,z\n", {.columns = {.item = "3"}})), "x>z");
  EXPECT_EQ(shown(read("a.csv", "user,item,x,x\nx,y,z,z\n")), "x>y");  // nobody reads these
  expect_error("a.csv", "alice,matrix\nbob,alien\n", "names or data?", {.columns = {.user = "1", .item = "2"}});
  expect_error("a.csv", "user\nx\n", "name the delimiter");
  expect_error("a.csv", "user,item\nx,y\n", "no column of ratings", {.min_rating = 1});
  expect_error("a.csv", "", "the file is empty");
  expect_error("a.csv", "user,item\n", "no interactions");
  expect_error("a.csv", "1,2\n", "'soup' is no format", {.format = "soup"});
  expect_error("a.csv",
               std::string("\xFF\xFE"
                           "u\0",
                           4),
               "UTF-16");
  const std::vector<std::string> missing = {"/nonexistent/a.csv"};
  EXPECT_THROW(read_interactions(missing, {}), Error);
}

TEST(Interactions, ReadsSeveralFilesAsOneLogWithProgress) {
  TemporaryFolder folder;
  write_file(folder / "a.csv", "user,item\n1,2\n");
  write_file(folder / "b.tsv", "item\tuser\n3\t1\n");
  write_file(folder / "c.csv", "user,item,ts\n1,2,3\n");
  std::vector<std::string> paths = {folder / "a.csv", folder / "b.tsv"};
  uint64_t last = 0, all = 0;
  const Interactions log =
      read_interactions(paths, {.progress = [&](uint64_t done, uint64_t total) { last = done, all = total; }});
  EXPECT_EQ(shown(log), "1>2 1>3");
  EXPECT_EQ(last, all);
  EXPECT_EQ(log.sources.size(), 2u);
  paths.push_back(folder / "c.csv");
  EXPECT_THROW(read_interactions(paths, {}), Error);  // times in one file only
  EXPECT_EQ(shown(read_interactions(paths, {.columns = {.time = "none"}})), "1>2 1>3 1>2");
}

TEST(Interactions, ReadsLatin1) {
  const Interactions log = read("u.item", "user|item\n1|Caf\xE9\n", {.latin1 = true});
  EXPECT_EQ(shown(log), "1>Caf\xC3\xA9");
}

TEST(Interner, NumbersStringsInOrderOfAppearance) {
  Interner interner;
  EXPECT_EQ(interner.find("x"), -1);
  for (int i = 0; i < 5000; ++i) EXPECT_EQ(interner.intern(std::to_string(i * 7919)), i);
  for (int i = 0; i < 5000; ++i) EXPECT_EQ(interner.find(std::to_string(i * 7919)), i);
  EXPECT_EQ(interner.view(3), "23757");
  EXPECT_EQ(interner.intern(""), 5000);
  EXPECT_EQ(interner.size(), 5001);
}

TEST(HistoryColumn, ListsAreReadAsTheirFilesWriteThem) {
  using List = std::vector<std::string>;
  EXPECT_EQ(parse_list("[3, 17]"), (List{"3", "17"}));
  EXPECT_EQ(parse_list("['it\"s, this', \"a b\"]"), (List{"it\"s, this", "a b"}));
  EXPECT_EQ(parse_list(" 3 17  4 "), (List{"3", "17", "4"}));
  EXPECT_EQ(parse_list("3,17"), (List{"3", "17"}));
  EXPECT_EQ(parse_list("[]"), List{});
  EXPECT_EQ(parse_list(""), List{});
  EXPECT_EQ(parse_list("['open"), (List{"['open"}));
}

TEST(HistoryColumn, RowsThatOverlapGiveEveryInteractionOnce) {
  // MiniOneRec's columns. User b's rows hold the newest three items only; his last row stands in another file.
  const std::string first =
      "user_id,history_item_title,item_title,history_item_id,item_id\n"
      "a,\"['x', 'y']\",z,\"[1, 2]\",3\n"
      "a,..,..,\"[1, 2, 3]\",3\n"
      "b,..,..,[5],6\n"
      "b,..,..,\"[5, 6]\",7\n"
      "b,..,..,[5],6\n";
  const std::string second =
      "user_id,history_item_id,item_id\n"
      "b,\"[6, 7, 8]\",9\n"
      "c,\"[1, 4]\",2\n";
  TemporaryFolder folder;
  write_file(folder / "train.csv", first);
  write_file(folder / "test.csv", second);
  const std::vector<std::string> paths = {folder / "train.csv", folder / "test.csv"};
  const Interactions log = read_interactions(paths, {});
  EXPECT_EQ(shown(log), "a>1 a>2 a>3 a>3 b>5 b>6 b>7 b>8 b>9 c>1 c>4 c>2");
  EXPECT_NE(log.sources.at(0).find("history = history_item_id"), std::string::npos);
  // RecBole's benchmark files.
  EXPECT_EQ(shown(read("x.inter", "user_id:token\titem_id_list:token_seq\titem_id:token\nu\t1 2\t3\nu\t1 2 3\t4\n")),
            "u>1 u>2 u>3 u>4");
}

}  // namespace
}  // namespace caravan::data
