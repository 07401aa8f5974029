#include "caravan/items/catalogue.h"

#include <gtest/gtest.h>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/temporary_folder.h"

namespace caravan::items {
namespace {

FileFault fault_of(const std::string& text) {
  TemporaryFolder folder;
  write_file(folder / "items.jsonl", text);
  try {
    read_catalogue(folder / "items.jsonl");
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("items.jsonl:"), std::string::npos) << error.what();
    return error.fault();
  }
  return FileFault::none;
}

TEST(Catalogue, ReadsBackWhatItWrote) {
  const Catalogue items({{.id = "B1", .title = "A \"quoted\" naïve title", .text = "brand: OPI", .count = 3},
                         {.id = "2", .categories = {"Makeup", "Nails"}, .codes = {"<a_1>", "<b_999>"}}});
  TemporaryFolder folder;
  write_catalogue(items, folder / "items.jsonl");
  const Catalogue back = read_catalogue(folder / "items.jsonl");
  ASSERT_EQ(back.size(), 2);
  EXPECT_EQ(back[0].title, items[0].title);
  EXPECT_EQ(back[0].text, "brand: OPI");
  EXPECT_EQ(back[0].count, 3);
  EXPECT_EQ(back[1].categories, items[1].categories);
  EXPECT_EQ(back[1].codes, items[1].codes);
  EXPECT_EQ(back.find("2"), 1);
  EXPECT_EQ(back.find("3"), std::nullopt);
}

TEST(Catalogue, NamesTheLineOfWhatIsWrong) {
  EXPECT_EQ(fault_of("{\"id\": \"a\"}\n{\"id\": \"a\"}\n"), FileFault::duplicate);
  EXPECT_EQ(fault_of("{\"id\": \"\"}\n"), FileFault::range);
  EXPECT_EQ(fault_of("{\"title\": \"x\"}\n"), FileFault::range);
  EXPECT_EQ(fault_of("{\"id\": 3}\n"), FileFault::type);
  EXPECT_EQ(fault_of("[1]\n"), FileFault::type);
  EXPECT_EQ(fault_of("{\"id\": \"a\", \"categories\": \"x\"}\n"), FileFault::type);
  EXPECT_EQ(fault_of("{\"id\": \"a\", \"count\": -1}\n"), FileFault::range);
  EXPECT_EQ(fault_of("{\"id\": \"a\", \"tittle\": \"x\"}\n"), FileFault::unsupported);
  EXPECT_EQ(fault_of("{\"id\": \"a\"\n"), FileFault::json);
}

TEST(FullText, JoinsThePartsThatAreThere) {
  EXPECT_EQ(full_text({.id = "1", .title = "Shampoo", .text = "brand: X", .categories = {"Hair", "Care"}}),
            "Shampoo. Hair, Care. brand: X");
  EXPECT_EQ(full_text({.id = "1", .title = "Vol. 2.", .text = "x"}), "Vol. 2. x");
  EXPECT_EQ(full_text({.id = "1"}), "");
}

}  // namespace
}  // namespace caravan::items
