#include "caravan/data/descriptions.h"

#include <gtest/gtest.h>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/temporary_folder.h"

namespace caravan::data {
namespace {

using Strings = std::vector<std::string>;

Interner ids(const Strings& names) {
  Interner interner;
  for (const std::string& name : names) interner.intern(name);
  return interner;
}

Descriptions read(const std::vector<std::pair<std::string, std::string>>& files,
                  const DescriptionOptions& options = {}) {
  TemporaryFolder folder;
  Strings paths;
  for (const auto& [name, text] : files) {
    paths.push_back(folder / name);
    write_file(paths.back(), text);
  }
  return read_descriptions(paths, ids({"1", "2", "3"}), options);
}

TEST(Descriptions, ReadsTablesByUsualNames) {
  const Descriptions about =
      read({{"movies.csv", "movieId,title,genres\n1,\"Ice Storm, The (1997)\",Drama|Comedy\n2,X,\n"}});
  EXPECT_EQ(about.items.at("1").title, "Ice Storm, The (1997)");
  EXPECT_EQ(about.items.at("1").categories, (Strings{"Drama", "Comedy"}));
  EXPECT_TRUE(about.items.at("1").text.empty());
  EXPECT_TRUE(about.items.at("2").categories.empty());
}

TEST(Descriptions, ReadsRecBolesItems) {
  const Descriptions about =
      read({{"a.item",
             "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\tprice:float\n"
             "1\tToy \"Story\t1995\tAnimation Comedy\t3.5\n"}});
  EXPECT_EQ(about.items.at("1").title, "Toy \"Story");
  EXPECT_EQ(about.items.at("1").categories, (Strings{"Animation", "Comedy"}));
  EXPECT_EQ(about.items.at("1").text, "release_year: 1995");
}

TEST(Descriptions, FindsTheIdColumnByTheLogsIds) {
  const std::string table =
      "asin\ts3_id\tyear\tname\tlink\nB1\t1\t3\tfirst\thttps://x.org\nB2\t2\t3\tsecond\t\nB3\t3\t1\tthird\t\n";
  const Descriptions about = read({{"items.tsv", table}});
  EXPECT_EQ(about.items.at("2").title, "second");
  EXPECT_EQ(about.items.at("1").text, "year: 3");  // another id is no text, unless it is chosen
  EXPECT_EQ(read({{"items.tsv", table}}, {.id_column = "s3_id", .text_columns = {"asin"}}).items.at("1").text,
            "asin: B1");
  EXPECT_EQ(read({{"items.tsv", table}}, {.id_column = "asin"}).items.at("B2").title, "second");
  EXPECT_EQ(read({{"items.tsv", table}}, {.id_column = "asin"}).items.at("B2").text, "year: 3");
  EXPECT_THROW(read({{"items.tsv", "asin\tname\nB1\tx\n"}}), Error);
}

TEST(Descriptions, TakesTheColumnsThatTheUserNames) {
  const std::string table = "id,a,b,c\n1,x,y,z\n";
  const DescriptionOptions options{.title_column = "b", .category_column = "c", .text_columns = {"a"}};
  const items::Item item = read({{"a.csv", table}}, options).items.at("1");
  EXPECT_EQ(item.title, "y");
  EXPECT_EQ(item.categories, Strings{"z"});
  EXPECT_EQ(item.text, "a: x");
  EXPECT_EQ(read({{"a.csv", table}}, {.text_columns = {"none"}}).items.at("1").text, "");
  EXPECT_THROW(read({{"a.csv", table}}, {.title_column = "nope"}), Error);
  // JSON objects need not all have a key; one of them must.
  const std::string lines = "{\"id\": \"1\", \"b\": \"y\"}\n{\"id\": \"2\"}\n";
  EXPECT_EQ(read({{"a.jsonl", lines}}, {.title_column = "b"}).items.at("1").title, "y");
  EXPECT_THROW(read({{"a.jsonl", lines}}, {.title_column = "nope"}), Error);
  EXPECT_THROW(read({{"a.jsonl", lines}}, {.text_columns = {"b", "nope"}}), Error);
  EXPECT_THROW(read({{"a.item.json", R"({"1": {"b": "y"}})"}}, {.category_column = "nope"}), Error);
}

TEST(Descriptions, ReadsJsonFormsAndJoinsFiles) {
  const Descriptions about = read(
      {{"x.item.json",
        R"({"1": {"title": "T", "description": "['one', \"two\"]", "brand": "", "categories": "A, B"}, "2": {"title": ""}})"},
       {"x.index.json", R"({"1": ["<a_1>", "<b_300>"], "2": ["<a_2>"]})"},
       {"x.jsonl", R"({"asin": 2, "title": "second", "categories": [["C", "D"]], "price": 3})"}});
  EXPECT_EQ(about.items.at("1").title, "T");
  EXPECT_EQ(about.items.at("1").text, "description: one two");
  EXPECT_EQ(about.items.at("1").categories, (Strings{"A", "B"}));
  EXPECT_EQ(about.items.at("1").codes, (Strings{"<a_1>", "<b_300>"}));
  EXPECT_EQ(about.items.at("2").title, "second");
  EXPECT_EQ(about.items.at("2").categories, (Strings{"C", "D"}));
  EXPECT_EQ(about.items.at("2").text, "price: 3");
  EXPECT_EQ(about.items.at("2").codes, Strings{"<a_2>"});
}

TEST(Descriptions, NamesBadRowsOrSkipsThem) {
  const auto error_of = [](const std::string& name, const std::string& text) -> std::string {
    try {
      read({{name, text}});
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_NE(error_of("a.csv", "id,title\n1,x\n1,y\n").find("a.csv:3: [duplicate]"), std::string::npos);
  EXPECT_NE(error_of("a.csv", "id,title\n1,x\n2\n").find("a.csv:3: [layout]"), std::string::npos);
  EXPECT_NE(error_of("a.csv", "id,title\n1,x\n2,\xFF\n").find("a.csv:3: [utf8]"), std::string::npos);
  EXPECT_NE(error_of("a.item.json", R"({"1": 3})").find("item \"1\": [type]"), std::string::npos);
  EXPECT_NE(error_of("a.index.json", R"({"1": [3]})").find("item \"1\": [type]"), std::string::npos);
  for (const char* word : {"<b_-2>", "<a_1>", "<b_99999999999>", "b"}) {
    const std::string text = fmt::format(R"({{"1": ["<a_4>", "{}"]}})", word);
    EXPECT_NE(error_of("a.index.json", text).find("item \"1\": [range] expected a code of level b"), std::string::npos)
        << word;
  }
  EXPECT_NE(error_of("a.csv", "id,title,title\n1,x,y\n")
                .find("columns 2 and 3 are both called 'title'; rename one, or choose another with --title-column"),
            std::string::npos);
  EXPECT_EQ(error_of("a.csv", "id,title,x,x\n1,t,y,z\n"), "no error");
  EXPECT_NE(error_of("a.txt", "1 2 3\n4 5\n").find("no format of item descriptions"), std::string::npos);
  const Descriptions about = read({{"a.csv", "id,title\n1,x\n1,y\n2\n3,z\n"}}, {.skip_bad_rows = true});
  EXPECT_EQ(about.items.size(), 2u);
  EXPECT_EQ(about.bad.count, 2);
}

TEST(SplitCategories, SplitsAtTheSeparatorThatIsThere) {
  EXPECT_EQ(split_categories("a | b|a|", false), (Strings{"a", "b"}));
  EXPECT_EQ(split_categories("Hair Care, Nails", false), (Strings{"Hair Care", "Nails"}));
  EXPECT_EQ(split_categories("Drama Comedy", true), (Strings{"Drama", "Comedy"}));
  EXPECT_TRUE(split_categories("", false).empty());
}

}  // namespace
}  // namespace caravan::data
