#include "caravan/data/dataset.h"

#include <gtest/gtest.h>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/temporary_folder.h"

namespace caravan::data {
namespace {

std::vector<int32_t> list(std::span<const int32_t> part) { return {part.begin(), part.end()}; }
using List = std::vector<int32_t>;

Dataset small() {
  Dataset data;
  data.items = items::Catalogue({{.id = "a"}, {.id = "b"}, {.id = "c"}, {.id = "d"}});
  data.add_user("u0", List{0, 1, 2, 3}, std::vector<double>{1, 2, 2, 3.25});
  data.add_user("u1", List{3, 3}, std::vector<double>{5, 1.7e18});
  data.add_user("u2", List{2, 1, 0}, std::vector<double>{0, 0, 0}, 0, 2);
  data.count_items();
  data.description["source"] = "a test";
  return data;
}

TEST(Dataset, LeaveOneOutGivesTheLastItemToTestAndTheSecondLastToValidation) {
  const Dataset data = small();
  EXPECT_EQ(list(data.train_history(0)), (List{0, 1}));
  EXPECT_EQ(data.validation_target(0), 2);
  EXPECT_EQ(list(data.test_history(0)), (List{0, 1, 2}));
  EXPECT_EQ(data.test_target(0), 3);
  EXPECT_EQ(list(data.train_history(1)), (List{3, 3}));  // too short to give anything away
  EXPECT_EQ(data.validation_target(1), kNoItem);
  EXPECT_EQ(data.test_target(1), kNoItem);
  EXPECT_EQ(list(data.validation_targets(2)), (List{2, 1}));
  EXPECT_EQ(data.items[0].count, 1);  // from train parts alone
  EXPECT_EQ(data.items[2].count, 0);
  EXPECT_EQ(data.items[3].count, 2);
}

TEST(Dataset, ReadsBackWhatItWrote) {
  const Dataset data = small();
  TemporaryFolder folder;
  write_dataset(data, folder / "set");
  write_dataset(data, folder / "set");  // a dataset may be replaced
  const Dataset back = read_dataset(folder / "set");
  ASSERT_EQ(back.user_count(), 3);
  EXPECT_EQ(back.interaction_count(), 9);
  for (int64_t u = 0; u < 3; ++u) {
    EXPECT_EQ(back.user_id(u), data.user_id(u));
    EXPECT_EQ(list(back.sequence(u)), list(data.sequence(u)));
    EXPECT_EQ(back.train_history(u).size(), data.train_history(u).size());
    EXPECT_EQ(back.test_history(u).size(), data.test_history(u).size());
    for (size_t i = 0; i < back.times(u).size(); ++i) EXPECT_EQ(back.times(u)[i], data.times(u)[i]);
  }
  EXPECT_EQ(back.items[3].count, 2);
  EXPECT_EQ(back.description["source"], "a test");
  EXPECT_EQ(back.description["counts"]["train"], 4);
}

TEST(Dataset, CodesOfAnOlderDatasetGoWithIt) {
  TemporaryFolder folder;
  write_dataset(small(), folder / "set");
  for (const char* name : {"codes.json", "codebooks.safetensors", "codes_report.html", "tokenizer.json", "codes.lock"})
    write_file((folder / "set/") + name, "x");
  write_dataset(small(), folder / "set");
  EXPECT_EQ(list_folder(folder / "set"), (std::vector<std::string>{"dataset.json", "items.jsonl", "sequences.jsonl"}));
  write_file(folder / "set/notes.txt", "x");  // what nobody here made stays
  EXPECT_THROW(write_dataset(small(), folder / "set"), Error);
  EXPECT_EQ(read_file(folder / "set/notes.txt"), "x");
}

TEST(Dataset, DoesNotReplaceAFolderThatIsNoDataset) {
  TemporaryFolder folder;
  std::filesystem::create_directory(folder / "mine");
  write_file(folder / "mine/thesis.txt", "x");
  EXPECT_THROW(write_dataset(small(), folder / "mine"), Error);
  EXPECT_EQ(read_file(folder / "mine/thesis.txt"), "x");
}

TEST(Dataset, RefusesUsersThatDoNotFit) {
  Dataset data = small();
  EXPECT_THROW(data.add_user("x", List{4}, std::vector<double>{1}), Error);
  EXPECT_THROW(data.add_user("x", List{-1}, std::vector<double>{1}), Error);
  EXPECT_THROW(data.add_user("x", List{1}), Error);  // the others have times
  EXPECT_THROW(data.add_user("x", List{1, 2}, std::vector<double>{1}), Error);
  EXPECT_THROW(data.add_user("x", List{1}, std::vector<double>{1}, 1, 0), Error);
  EXPECT_THROW(data.add_user("x", List{1}, std::vector<double>{1}, 0, 2), Error);
}

// Replaces one file of a good dataset folder and says what read_dataset() thinks of it.
FileFault fault_with(const std::string& name, const std::string& text, std::string_view blamed = "") {
  TemporaryFolder folder;
  write_dataset(small(), folder / "set");
  write_file(folder / ("set/" + name), text);
  try {
    read_dataset(folder / "set");
  } catch (const Error& error) {
    EXPECT_NE(std::string_view(error.what()).find(blamed), std::string_view::npos) << error.what();
    return error.fault();
  }
  return FileFault::none;
}

TEST(Dataset, NamesWhatIsWrongWithItsFiles) {
  EXPECT_EQ(fault_with("dataset.json", "{}"), FileFault::magic);
  EXPECT_EQ(fault_with("dataset.json", R"({"format": "caravan-dataset", "version": 2})"), FileFault::version);
  EXPECT_EQ(fault_with("sequences.jsonl", R"({"id": "a", "items": [4]})"), FileFault::range);
  EXPECT_EQ(fault_with("sequences.jsonl", R"({"id": "a", "items": [-1]})"), FileFault::range);
  EXPECT_EQ(fault_with("sequences.jsonl", R"({"id": "a", "items": [1.5]})"), FileFault::range);
  EXPECT_EQ(fault_with("sequences.jsonl", R"({"id": "a", "items": 1})"), FileFault::type);
  EXPECT_EQ(fault_with("sequences.jsonl", R"({"id": "a"})"), FileFault::type);
  EXPECT_EQ(fault_with("sequences.jsonl", R"({"id": "a", "items": [1, 2], "times": [1]})"), FileFault::layout);
  EXPECT_EQ(fault_with("sequences.jsonl", R"({"id": "a", "items": [1, 2], "split": [2, 1]})"), FileFault::range);
  EXPECT_EQ(fault_with("sequences.jsonl", R"({"id": "a", "items": [1, 2], "split": [2, 3]})"), FileFault::range);
  EXPECT_EQ(fault_with("sequences.jsonl", R"({"id": "a", "items": [1], "split": [1]})"), FileFault::type);
  EXPECT_EQ(fault_with("sequences.jsonl", "{\"id\": \"a\", \"items\": [1]}\n{\"id\": \"a\", \"items\": [1]}"),
            FileFault::duplicate);
  EXPECT_EQ(
      fault_with("sequences.jsonl", "{\"id\": \"a\", \"items\": [1]}\n{\"id\": \"b\", \"items\": [1], \"times\": [1]}"),
      FileFault::layout);
  EXPECT_EQ(fault_with("sequences.jsonl", "7"), FileFault::type);
  // Lines that were lost leave well-formed files.
  const std::string users = "{\"id\": \"a\", \"items\": [3, 0]}\n{\"id\": \"b\", \"items\": [1, 2, 3, 0]}\n";
  EXPECT_EQ(fault_with("sequences.jsonl", users), FileFault::truncated);
  EXPECT_EQ(fault_with("sequences.jsonl", users + R"({"id": "c", "items": [1, 2]})"), FileFault::truncated);
  EXPECT_EQ(fault_with("sequences.jsonl", users + R"({"id": "c", "items": [1, 2, 3]})"), FileFault::none);
  const std::string items = "{\"id\": \"a\"}\n{\"id\": \"b\"}\n{\"id\": \"c\"}\n{\"id\": \"d\"}\n";
  EXPECT_EQ(fault_with("items.jsonl", items), FileFault::none);
  EXPECT_EQ(fault_with("items.jsonl", items + "{\"id\": \"e\"}\n"), FileFault::truncated);
  EXPECT_EQ(fault_with("items.jsonl", "", "set/items.jsonl: "), FileFault::truncated);
  EXPECT_EQ(fault_with("items.jsonl", "{\"id\": \"a\"}\n", "set/items.jsonl: "), FileFault::truncated);
  EXPECT_EQ(fault_with("dataset.json", R"({"format": "caravan-dataset", "version": 1, "counts": 3})"), FileFault::type);
  EXPECT_EQ(fault_with("dataset.json", R"({"format": "caravan-dataset", "version": 1})"), FileFault::none);
}

}  // namespace
}  // namespace caravan::data
