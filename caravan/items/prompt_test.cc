#include "caravan/items/prompt.h"

#include <gtest/gtest.h>

#include "caravan/base/error.h"

namespace caravan::items {
namespace {

const std::vector<std::vector<int32_t>> kTokens = {{5, 6}, {7, 8}, {9}};

TEST(PromptFormat, OldestItemComesFirst) {
  const std::vector<int32_t> history = {2, 0, 1};
  EXPECT_EQ(make_prompt(history, kTokens, {}), (std::vector<int32_t>{9, 5, 6, 7, 8}));
  EXPECT_EQ(make_prompt(history, kTokens, {.bos = 1, .separator = 2}),
            (std::vector<int32_t>{1, 9, 2, 5, 6, 2, 7, 8, 2}));
}

TEST(PromptFormat, OfALongHistoryTheNewestItemsAreUsed) {
  const std::vector<int32_t> history = {2, 0, 1};
  EXPECT_EQ(make_prompt(history, kTokens, {.max_items = 2}), (std::vector<int32_t>{5, 6, 7, 8}));
}

TEST(PromptFormat, SurvivesTheConfig) {
  Json config = {{"vocab_size", 100}};
  write_prompt_format({.bos = 3, .max_items = 20}, config);
  const PromptFormat format = read_prompt_format(config, "config.json");
  EXPECT_EQ(format.bos, 3);
  EXPECT_EQ(format.separator, std::nullopt);
  EXPECT_EQ(format.max_items, 20);
  EXPECT_EQ(read_prompt_format(Json{{"vocab_size", 5}}, "config.json").bos, std::nullopt);
}

TEST(PromptFormat, AnItemsOwnTokenFollowsItsCodes) {
  const std::vector<int32_t> history = {2, 0};
  const PromptFormat format{.bos = 1, .items = OwnTokens{.run = {.first = 20, .count = 3}, .weight = 0.3}};
  EXPECT_EQ(make_prompt(history, kTokens, format), (std::vector<int32_t>{1, 9, 22, 5, 6, 20}));
  Json config = {{"vocab_size", 100}};
  PromptFormat written = format;
  written.levels = {{2, 4}, {6, 3}};
  written.prefix = written.parallel = true;
  written.users = TokenRun{60, 40};
  write_prompt_format(written, config);
  const PromptFormat read = read_prompt_format(config, "config.json");
  EXPECT_EQ(read.levels, written.levels);
  EXPECT_TRUE(read.prefix);
  EXPECT_TRUE(read.parallel);
  EXPECT_EQ(read.users, written.users);
  EXPECT_EQ(read.items->run, format.items->run);
  EXPECT_EQ(read.items->weight, 0.3);
}

TEST(PromptFormat, AUsersTokenStandsBehindTheBos) {
  const std::vector<int32_t> history = {2};
  const PromptFormat format{.bos = 1, .users = TokenRun{.first = 50, .count = 1000}};
  EXPECT_EQ(make_prompt(history, kTokens, format), (std::vector<int32_t>{1, 9}));  // nobody in particular
  // FNV-1a of "a" is 0xAF63DC4C8601EC8C (the published test vector).
  EXPECT_EQ(make_prompt(history, kTokens, format, "a"),
            (std::vector<int32_t>{1, 50 + static_cast<int32_t>(0xAF63DC4C8601EC8Cull % 1000), 9}));
  EXPECT_NE(user_token(format, "a"), user_token(format, "b"));
  EXPECT_EQ(user_token({}, "a"), std::nullopt);
}

TEST(PromptFormat, LevelsAreRunsOfIdsOrNothing) {
  using Levels = std::vector<std::vector<int32_t>>;
  EXPECT_EQ(level_runs(Levels{{4, 5, 6}, {9, 10}}), (std::vector<TokenRun>{{4, 3}, {9, 2}}));
  for (const Levels& broken : {Levels{{4, 6}}, Levels{{-1, 0}}, Levels{{4, 5}, {5, 6}}, Levels{{9}, {3}}, Levels{{}}})
    EXPECT_TRUE(level_runs(broken).empty());
}

TEST(PromptFormat, RefusesWhatIsOutOfRange) {
  for (const char* prompt :
       {R"(3)", R"({"bos": 100})", R"({"bos": -2})", R"({"bos": "x"})", R"({"max_items": 0})", R"({"levels": [[4]]})",
        R"({"levels": [[4, 97]]})", R"({"levels": 3})", R"({"users": 7})", R"({"users": [90, 11]})",
        R"({"levels": [[-1, 2]]})", R"({"levels": [["a", 2]]})", R"({"items": {"first": 3}})",
        R"({"items": {"first": 90, "count": 11}})", R"({"items": {"first": 9, "count": 0}})",
        R"({"items": {"first": 9, "count": 9, "weight": 1.5}})"}) {
    const Json config = {{"vocab_size", 100}, {"item_prompt", Json::parse(prompt)}};
    EXPECT_THROW(read_prompt_format(config, "config.json"), Error) << prompt;
  }
  const std::vector<int32_t> history = {3};
  EXPECT_THROW(make_prompt(history, kTokens, {}), Error);
}

}  // namespace
}  // namespace caravan::items
