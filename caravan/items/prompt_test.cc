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

TEST(PromptFormat, RefusesWhatIsOutOfRange) {
  for (const char* prompt : {R"(3)", R"({"bos": 100})", R"({"bos": -2})", R"({"bos": "x"})", R"({"max_items": 0})"}) {
    const Json config = {{"vocab_size", 100}, {"item_prompt", Json::parse(prompt)}};
    EXPECT_THROW(read_prompt_format(config, "config.json"), Error) << prompt;
  }
  const std::vector<int32_t> history = {3};
  EXPECT_THROW(make_prompt(history, kTokens, {}), Error);
}

}  // namespace
}  // namespace caravan::items
