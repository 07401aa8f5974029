#include "caravan/items/codes.h"

#include <gtest/gtest.h>

#include <array>
#include <map>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/message_of.h"
#include "caravan/base/temporary_folder.h"

namespace caravan::items {
namespace {

TEST(CodeSpelling, LettersGoOnBehindZ) {
  EXPECT_EQ(level_letters(0), "a");
  EXPECT_EQ(level_letters(25), "z");
  EXPECT_EQ(level_letters(26), "aa");
  EXPECT_EQ(level_letters(51), "az");
  EXPECT_EQ(level_letters(52), "ba");
  EXPECT_EQ(code_token(2, 999), "<c_999>");
}

TEST(CodeSpelling, EveryWordParsesBack) {
  for (int64_t level = 0; level < 100; ++level) {
    for (int32_t code : {0, 1, 9, 10, 255, 256, 100000}) {
      EXPECT_EQ(parse_code_token(code_token(level, code)), (Code{level, code})) << code_token(level, code);
    }
  }
}

TEST(CodeSpelling, OtherWordsAreRefused) {
  for (const char* word : {"", "<>", "<a_>", "<_1>", "a_1", "<a_1", "<a1>", "<A_1>", "<a_-1>", "<a_+1>", "<a_01>",
                           "<a_1 >", "<a_99999999999>", "<abc_1>", "<a_1x>", "<s>"}) {
    EXPECT_EQ(parse_code_token(word), std::nullopt) << word;
  }
}

TEST(CodeSpelling, TuplesCountUpFromTheFirstLevel) {
  EXPECT_EQ(parse_code_tuple("<a_1><b_2> <c_3>"), (std::vector<int32_t>{1, 2, 3}));
  EXPECT_EQ(parse_code_tuple("<b_2>"), std::nullopt);
  EXPECT_EQ(parse_code_tuple("<a_1><c_2>"), std::nullopt);
  EXPECT_EQ(parse_code_tuple("<a_1>x"), std::nullopt);
  EXPECT_EQ(parse_code_tuple(" "), std::nullopt);
}

TEST(ItemCodes, HoldsItemsOfDifferentDepth) {
  ItemCodes codes({4, 8, 1000});
  codes.add(std::array{3, 7, 999});
  codes.add(std::array{1});
  codes.add(std::array{1, 0});
  EXPECT_EQ(codes.items(), 3);
  EXPECT_FALSE(codes.same_depth());
  EXPECT_EQ(codes.spelling(0), "<a_3><b_7><c_999>");
  EXPECT_EQ(codes.spelling(1), "<a_1>");
  EXPECT_EQ(codes.spelling(2), "<a_1><b_0>");
  const ItemCodes same({4, 8, 1000}, {codes.table().begin(), codes.table().end()});
  EXPECT_EQ(same, codes);
}

TEST(ItemCodes, RefusesWhatDoesNotFitItsLevels) {
  ItemCodes codes({4, 8});
  EXPECT_THROW(codes.add(std::array{4, 0}), Error);
  EXPECT_THROW(codes.add(std::array{-1, 0}), Error);
  EXPECT_THROW(codes.add(std::array{0, 0, 0}), Error);
  EXPECT_THROW(codes.add(std::span<const int32_t>()), Error);
  EXPECT_THROW(ItemCodes({4, 0}), Error);
  EXPECT_THROW(ItemCodes({4, 8}, {1, 2, 3}), Error);
  EXPECT_THROW(ItemCodes({4, 8}, {-1, 2}), Error);
  EXPECT_EQ(codes.items(), 0);
}

TEST(ItemCodes, MissingTokensAreNamed) {
  ItemCodes codes({2, 2});
  codes.add(std::array{1, 0});
  const std::map<std::string, int32_t, std::less<>> vocabulary = {{"<a_1>", 7}, {"<b_0>", 9}};
  const auto find = [&](std::string_view word) {
    const auto it = vocabulary.find(word);
    return it == vocabulary.end() ? std::nullopt : std::optional<int32_t>(it->second);
  };
  EXPECT_EQ(item_tokens(codes, find), (std::vector<std::vector<int32_t>>{{7, 9}}));
  codes.add(std::array{1, 1});
  EXPECT_NE(message_of([&] { item_tokens(codes, find); }).find("<b_1>"), std::string::npos);
}

TEST(CodeFiles, RoundTrips) {
  const TemporaryFolder folder;
  ItemCodes codes({4, 8, 1000});
  codes.add(std::array{3, 7, 999});
  codes.add(std::array{1});
  codes.add(std::array{3, 7, 999});
  write_codes(codes, folder / "codes.json");
  EXPECT_EQ(read_codes(folder / "codes.json"), codes);
  EXPECT_EQ(read_named_codes(folder / "codes.json").ids, (std::vector<std::string>{"0", "1", "2"}));

  const std::vector<std::string> ids = {"B01", "x\"y", "7"};
  write_index_json(codes, ids, folder / "index.json");
  const NamedCodes named = read_named_codes(folder / "index.json");
  EXPECT_EQ(named.ids, ids);
  EXPECT_EQ(named.codes.spelling(0), "<a_3><b_7><c_999>");
  EXPECT_EQ(named.codes.spelling(1), "<a_1>");
  EXPECT_EQ(named.codes.sizes()[2], 1000);
}

TEST(CodeFiles, KnowWhichItemsTheyAreOf) {
  const TemporaryFolder folder;
  const std::string path = folder / "codes.json";
  ItemCodes codes({4, 8});
  codes.add(std::array{3, 7});
  codes.add(std::array{1});
  const std::vector<std::string> ids = {"B01", "x"}, swapped = {"x", "B01"}, more = {"B01", "x", "y"};
  const std::vector<std::string> joined = {"B01x", ""};
  EXPECT_NE(fingerprint(ids), fingerprint(swapped));
  EXPECT_NE(fingerprint(ids), fingerprint(joined));
  write_codes(codes, path, ids);
  EXPECT_EQ(read_codes(path), codes);
  EXPECT_EQ(read_codes(path, ids), codes);
  EXPECT_EQ(read_codes_for(ids, path), codes);
  EXPECT_NE(message_of([&] { read_codes(path, swapped); }).find("[checksum]"), std::string::npos);
  EXPECT_NE(message_of([&] { read_codes_for(swapped, path); }).find("[checksum]"), std::string::npos);
  EXPECT_NE(message_of([&] { read_codes(path, more); }).find("codes of 2 items, but there are 3"), std::string::npos);
  EXPECT_THROW(write_codes(codes, path, more), Error);
  // Files of others say nothing about the ids: their number alone is compared.
  write_codes(codes, path);
  EXPECT_EQ(read_codes(path, swapped), codes);
  EXPECT_THROW(read_codes(path, more), Error);
}

TEST(CodeFiles, ReadsTables) {
  const TemporaryFolder folder;
  write_file(folder / "t.tsv", "id\ta\tb\r\n1\t5\t6\r\n2\t7\t\r\n\n");
  const NamedCodes named = read_named_codes(folder / "t.tsv");
  EXPECT_EQ(named.ids, (std::vector<std::string>{"1", "2"}));
  EXPECT_EQ(named.codes.spelling(0), "<a_5><b_6>");
  EXPECT_EQ(named.codes.spelling(1), "<a_7>");
  const std::vector<std::string> order = {"2", "1"};
  EXPECT_EQ(arrange(named, order).spelling(0), "<a_7>");
  const std::vector<std::string> more = {"2", "9"};
  EXPECT_NE(message_of([&] { arrange(named, more); }).find("9"), std::string::npos);
}

TEST(CodeFiles, MalformedFilesGetTheirError) {
  const TemporaryFolder folder;
  const std::vector<std::pair<std::string, FileFault>> files = {
      {"{", FileFault::json},
      {"[]", FileFault::layout},
      {"", FileFault::layout},
      {"{}", FileFault::layout},
      {"id\ta\n", FileFault::layout},
      {R"({"sizes": [4]})", FileFault::range},
      {R"({"version": 2, "sizes": [4], "codes": []})", FileFault::version},
      {R"({"format": "x", "version": 1, "sizes": [4], "codes": []})", FileFault::magic},
      {R"({"version": 1, "sizes": 4, "codes": []})", FileFault::type},
      {R"({"version": 1, "sizes": [4], "codes": [[4]]})", FileFault::range},
      {R"({"version": 1, "sizes": [4], "codes": [[-1]]})", FileFault::range},
      {R"({"version": 1, "sizes": [4], "codes": [[18446744073709551615]]})", FileFault::range},
      {R"({"version": 1, "sizes": [4], "codes": [[1.5]]})", FileFault::type},
      {R"({"version": 1, "sizes": [4], "codes": [[]]})", FileFault::range},
      {R"({"version": 1, "sizes": [4], "codes": [[1, 1]]})", FileFault::range},
      {R"({"version": 1, "sizes": [99999999999], "codes": []})", FileFault::range},
      {R"({"version": 1, "sizes": [0], "codes": []})", FileFault::range},
      {R"({"0": []})", FileFault::type},
      {R"({"0": ["<b_1>"]})", FileFault::range},
      {R"({"0": ["<a_1>", 5]})", FileFault::type},
      {R"({"0": ["<a_2147483647>"]})", FileFault::range},
      {R"({"0": ["<a_1>"], "0": ["<a_2>"]})", FileFault::duplicate},
      {"id\ta\n1\tx\n", FileFault::range},
      {"id\ta\n1\t-1\n", FileFault::range},
      {"id\ta\n1\t4294967296\n", FileFault::range},
      {"id\ta\tb\n1\t\t2\n", FileFault::range},
      {"id\ta\n1\t2\t3\n", FileFault::layout},
      {"id\ta\n1\t2\n1\t3\n", FileFault::duplicate},
      {"id\ta\n\t2\n", FileFault::range},
      {"id\n1\n", FileFault::layout},
      {"id\ta\n\xff\t1\n", FileFault::utf8},
  };
  for (const auto& [text, fault] : files) {
    write_file(folder / "file", text);
    try {
      read_named_codes(folder / "file");
      ADD_FAILURE() << "read: " << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), fault) << text << "\n" << error.what();
    }
  }
}

TEST(CodeFiles, ReadsPublishedCodes) {
  const std::string data = std::string(CARAVAN_SOURCE_DIR) + "/../shared/data/";
  if (!file_exists(data + "amazon-beauty/sid_llama7b_rqvae.tsv")) GTEST_SKIP() << "no ../shared/data here";
  const NamedCodes beauty = read_named_codes(data + "amazon-beauty/sid_llama7b_rqvae.tsv");
  EXPECT_EQ(beauty.codes.items(), 12101);
  EXPECT_EQ(beauty.codes.levels(), 4);
  EXPECT_EQ(beauty.codes.spelling(0), "<a_211><b_91><c_195><d_141>");
  const NamedCodes office = read_named_codes(data + "minionerec-amazon18/Office_Products.index.json");
  EXPECT_EQ(office.codes.items(), 3459);
  EXPECT_EQ(office.codes.spelling(0), "<a_60><b_159><c_203>");
}

}  // namespace
}  // namespace caravan::items
