// What a run over a recommendation data set requires of its data, its model and the checkpoint that it goes on from.
#include "caravan/train/run.h"

#include <gtest/gtest.h>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/message_of.h"
#include "caravan/base/temporary_folder.h"
#include "caravan/train/item_vocabulary.h"

namespace caravan::train {
namespace {

// ids "0" to "2" in another order than the items': what codes.json says goes by the order, an index.json by the ids.
TEST(ItemVocabulary, CodesGoByTheItemsOrderOrByTheirIds) {
  data::Dataset data;
  data.items = items::Catalogue({{.id = "2"}, {.id = "0"}, {.id = "1"}});
  const std::vector<std::string> ids = items::ids_of(data.items);
  items::ItemCodes codes({3});
  for (int32_t i = 0; i < 3; ++i) codes.add(std::vector<int32_t>{i});
  const TemporaryFolder folder;
  items::write_codes(codes, folder / "codes.json", ids);
  EXPECT_EQ(read_item_codes(data, folder.path(), ""), codes);
  write_file(folder / "index.json", R"({"0": ["<a_0>"], "1": ["<a_1>"], "2": ["<a_2>"]})");
  EXPECT_EQ(read_item_codes(data, folder.path(), folder / "index.json").spelling(0), "<a_2>");
  // The same items in another order, and fewer of them.
  data.items = items::Catalogue({{.id = "0"}, {.id = "1"}, {.id = "2"}});
  EXPECT_TRUE(has(message_of([&] { read_item_codes(data, folder.path(), ""); }), "in another order"));
  data.items = items::Catalogue({{.id = "2"}, {.id = "0"}});
  EXPECT_TRUE(has(message_of([&] { read_item_codes(data, folder.path(), ""); }), "codes of 3 items, but there are 2"));
  // An index.json whose numbers are nobody's ids says nothing about these items.
  data.items = items::Catalogue({{.id = "x"}, {.id = "y"}, {.id = "z"}});
  EXPECT_TRUE(has(message_of([&] { read_item_codes(data, folder.path(), folder / "index.json"); }), "x, y, z"));
}

// A LLaMA over codes, two an item, of two users' histories.
TrainConfig recommender_in(const TemporaryFolder& folder) {
  data::Dataset dataset;
  std::vector<items::Item> all;
  for (int i = 0; i < 12; ++i) all.push_back({.id = "i" + std::to_string(i)});
  dataset.items = items::Catalogue(std::move(all));
  dataset.add_user("a", std::vector<int32_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  dataset.add_user("b", std::vector<int32_t>{3, 4, 5});
  data::write_dataset(dataset, folder / "data");
  items::ItemCodes codes({4, 3});
  for (int32_t i = 0; i < 12; ++i) codes.add(std::vector<int32_t>{i / 3, i % 3});
  items::write_codes(codes, folder / "data/codes.json");
  TrainConfig config;
  config.output = folder / "run";
  config.data.kind = "items";
  config.data.dataset = folder / "data";
  config.training.steps = 2;
  config.model.inline_config = {{"model_type", "llama"},
                                {"hidden_size", 16},
                                {"intermediate_size", 32},
                                {"num_hidden_layers", 1},
                                {"num_attention_heads", 2}};
  return config;
}

TEST(Run, NeedsPositionsForAHistoryAndTheItemAfterIt) {
  const TemporaryFolder folder;
  TrainConfig config = recommender_in(folder);
  config.data.max_items = 5;
  config.model.inline_config["max_position_embeddings"] = 1 + 2 * 6;  // bos, five items and one more
  EXPECT_EQ(message_of([&] { train::Run(config, {}); }), "no error");
  config.data.max_items = 6;
  EXPECT_TRUE(has(message_of([&] { train::Run(config, {}); }),
                  "data.max_items = 6: a history of so many items and the item after it are 15 tokens (2 an item), but "
                  "the model has 13 positions: set model.max_position_embeddings to at least 15, or data.max_items to "
                  "at most 5"));
  config.data.item_tokens = true;
  config.data.user_tokens = 9;
  EXPECT_TRUE(has(message_of([&] { train::Run(config, {}); }), "are 23 tokens (3 an item)"));
  config.data.item_tokens = false;
  config.data.user_tokens = 0;
  config.model.inline_config["max_position_embeddings"] = 4;
  EXPECT_TRUE(message_of([&] { train::Run(config, {}); }).ends_with("max_position_embeddings to at least 15"));
  // SASRec has a table of 64 where the config says nothing.
  config.data.codes = kItemIds;
  config.model.inline_config["model_type"] = "sasrec";
  config.model.inline_config.erase("max_position_embeddings");
  config.data.max_items = 62;
  EXPECT_EQ(message_of([&] { train::Run(config, {}); }), "no error");
  config.data.max_items = 63;
  EXPECT_TRUE(
      has(message_of([&] { train::Run(config, {}); }), "65 tokens (1 an item), but the model has 64 positions"));
}

TEST(Run, ResumesOnlyWithTheDataThatItBeganWith) {
  const TemporaryFolder folder;
  const TrainConfig config = recommender_in(folder);
  train::Run run(config, {});
  EXPECT_EQ(run.execute(RunMode::fresh), Outcome::finished);
  const std::string settings = read_file(folder / "run/config.toml");
  // A checkpoint that does not fit the settings leaves them as they were.
  TrainConfig wider = config;
  wider.model.inline_config["hidden_size"] = 32;
  train::Run other(wider, {});
  EXPECT_NE(message_of([&] { other.execute(RunMode::resume); }), "no error");
  EXPECT_EQ(read_file(folder / "run/config.toml"), settings);
  // As many examples, of other items.
  items::ItemCodes codes({4, 3});
  for (int32_t i = 0; i < 12; ++i) codes.add(std::vector<int32_t>{i % 4, i / 4});
  items::write_codes(codes, folder / "data/codes.json");
  train::Run changed(config, {});
  EXPECT_TRUE(has(message_of([&] { changed.execute(RunMode::resume); }), "resume with the same data"));
  EXPECT_EQ(read_file(folder / "run/config.toml"), settings);
}

}  // namespace
}  // namespace caravan::train
