#include "caravan/items/lookup.h"

#include <gtest/gtest.h>

#include <array>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/temporary_folder.h"

namespace caravan::items {
namespace {

ItemSet films() {
  ItemCodes codes({4, 4});
  codes.add(std::array{0, 1});
  codes.add(std::array{0, 1});
  codes.add(std::array{2, 3});
  codes.add(std::array{1, 3});
  return {Catalogue({{.id = "m1", .title = "Alien (1979)", .count = 3},
                     {.id = "m2", .title = "Aliens (1986)", .count = 8},
                     {.id = "m3", .title = "Heat", .count = 1},
                     {.id = "42", .title = "heat", .count = 2}}),
          codes};
}

std::string message_of(const ItemLookup& lookup, std::string_view text) {
  try {
    lookup.resolve(text);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(ItemLookup, FindsItemsByIdCodesTitleAndBeginning) {
  const ItemSet set = films();
  const ItemLookup lookup(set);
  EXPECT_EQ(lookup.resolve("m3"), 2);
  EXPECT_EQ(lookup.resolve("<a_2><b_3>"), 2);
  EXPECT_EQ(lookup.resolve("<a_0><b_1>"), 1);  // of two items the more popular one
  EXPECT_EQ(lookup.resolve(" Alien (1979) "), 0);
  EXPECT_EQ(lookup.resolve("ALIENS"), 1);
  EXPECT_EQ(lookup.resolve("Heat"), 2);  // exactly, before without case
  EXPECT_EQ(lookup.resolve("heat"), 3);
  const std::string several = message_of(lookup, "HEAT");
  EXPECT_NE(several.find("several items have the title \"HEAT\"; give one's id:\n  m3  Heat\n  42  heat"),
            std::string::npos)
      << several;
}

TEST(ItemLookup, UnknownItemsAreAnsweredWithNearNames) {
  const ItemSet set = films();
  const ItemLookup lookup(set);
  EXPECT_NE(message_of(lookup, "Alein (1979)").find("Alien (1979)"), std::string::npos);
  EXPECT_NE(message_of(lookup, "1986").find("Aliens (1986)"), std::string::npos);
  EXPECT_NE(message_of(lookup, "alie").find("m2"), std::string::npos);  // two titles begin so: both are listed
  EXPECT_NE(message_of(lookup, "Allien").find("Alien (1979)"), std::string::npos);
  EXPECT_NE(message_of(lookup, "<a_3><b_3>").find("no item has the codes"), std::string::npos);
  EXPECT_NE(message_of(lookup, "<a_3>").find("1 level, items have 2 (such as <a_0><b_1>)"), std::string::npos);
  EXPECT_NE(message_of(lookup, " "), "");
  EXPECT_NE(message_of(lookup, "qqqqqqqqqqqq"), "");
  // Nothing that was typed steers a terminal or ends the message.
  EXPECT_NE(message_of(lookup, std::string_view("x\0\x1b[31m", 7)).find("\"x\\x00\\x1b[31m\" among 4 items"),
            std::string::npos);
}

TEST(ItemLookup, AListIsSeparatedByCommasThatTitlesMayHoldToo) {
  ItemCodes codes({4});
  for (int32_t i = 0; i < 4; ++i) codes.add(std::array{i});
  const ItemSet set{Catalogue({{.id = "1", .title = "Good, the Bad, the Ugly"},
                               {.id = "2", .title = "Good"},
                               {.id = "3", .title = "Alien"},
                               {.id = "4", .title = ""}}),
                    codes};
  const ItemLookup lookup(set);
  using Items = std::vector<int32_t>;
  EXPECT_EQ(lookup.resolve_list("3"), (Items{2}));
  EXPECT_EQ(lookup.resolve_list("3, alien,<a_1> ,Good"), (Items{2, 2, 1, 1}));
  EXPECT_EQ(lookup.resolve_list("Alien, good, the bad, the ugly, 4"), (Items{2, 0, 3}));
  EXPECT_EQ(lookup.resolve_list("1,2,"), (Items{0, 1}));
  EXPECT_THROW(lookup.resolve_list(""), Error);
  EXPECT_THROW(lookup.resolve_list("1,nothing"), Error);
}

TEST(ItemLookup, IdsMayHoldCommasAndSpaces) {
  ItemCodes codes({8});
  for (int32_t i = 0; i < 5; ++i) codes.add(std::array{i});
  const ItemSet set{Catalogue({{.id = "a,b"}, {.id = "a"}, {.id = " a "}, {.id = "b"}, {.id = "a,b,c", .title = "X"}}),
                    codes};
  const ItemLookup lookup(set);
  using Items = std::vector<int32_t>;
  EXPECT_EQ(lookup.resolve_list("a,b"), (Items{0}));
  EXPECT_EQ(lookup.resolve_list("b,a"), (Items{3, 1}));
  EXPECT_EQ(lookup.resolve_list("a,b,c,a,b,x"), (Items{4, 0, 4}));
  EXPECT_EQ(lookup.resolve_list("b, a ,a,b"), (Items{3, 2, 0}));
  EXPECT_EQ(lookup.resolve(" a "), 2);
  EXPECT_EQ(lookup.resolve(" b "), 3);
}

TEST(ItemLookup, SeveralItemsOfOneTitleAreAnError) {
  ItemCodes codes({8});
  for (int32_t i = 0; i < 3; ++i) codes.add(std::array{i});
  const ItemSet set{Catalogue({{.id = "1", .title = "Heat", .count = 9}, {.id = "2", .title = "Heat"}, {.id = "3"}}),
                    codes};
  const ItemLookup lookup(set);
  EXPECT_NE(message_of(lookup, "Heat").find("several items have the title"), std::string::npos);
  EXPECT_THROW(lookup.resolve_list("3,Heat"), Error);
  EXPECT_EQ(lookup.resolve("2"), 1);
}

TEST(ItemLookup, ATitlesYearMayBeLeftOut) {
  ItemCodes codes({5});
  for (int32_t i = 0; i < 5; ++i) codes.add(std::array{i});
  const ItemSet set{Catalogue({{.id = "t1", .title = "Toy Story (1995)"},
                               {.id = "t2", .title = "Toy Story 2 (1999)"},
                               {.id = "l", .title = "Lion King, The (1994)"},
                               {.id = "g1", .title = "Great Gatsby, The (1974)"},
                               {.id = "g2", .title = "Great Gatsby, The (2013)"}}),
                    codes};
  const ItemLookup lookup(set);
  using Items = std::vector<int32_t>;
  EXPECT_EQ(lookup.resolve("Toy Story"), 0);
  EXPECT_EQ(lookup.resolve("toy story 2"), 1);
  EXPECT_EQ(lookup.resolve_list("lion king, the"), (Items{2}));
  EXPECT_EQ(lookup.resolve_list("Toy Story, Lion King, The,great gatsby, the (2013)"), (Items{0, 2, 4}));
  EXPECT_NE(message_of(lookup, "toy storry").find("\"Toy Story (1995)\" (id t1)"), std::string::npos);
  try {
    lookup.resolve_list("toy story, great gatsby, the");
    FAIL();
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("several items are called \"great gatsby, the\""), std::string::npos) << message;
    EXPECT_NE(message.find("g1  Great Gatsby, The (1974)\n  g2"), std::string::npos) << message;
  }
}

TEST(ItemSet, RoundTripsThroughAFolder) {
  const TemporaryFolder folder;
  EXPECT_FALSE(has_item_set(folder.path()));
  write_item_set(films(), folder.path());
  EXPECT_TRUE(has_item_set(folder.path()));
  const ItemSet read = read_item_set(folder.path());
  EXPECT_EQ(read.catalogue[1].title, "Aliens (1986)");
  EXPECT_EQ(read.catalogue[1].count, 8);
  EXPECT_EQ(read.codes, films().codes);
}

TEST(ItemSet, CodesOfAnotherDataSetAreRefused) {
  const TemporaryFolder folder;
  write_item_set(films(), folder.path());
  ItemCodes codes({4});
  codes.add(std::array{1});
  write_codes(codes, folder / "codes.json");
  EXPECT_THROW(read_item_set(folder.path()), Error);
  EXPECT_THROW(write_item_set({films().catalogue, codes}, folder.path()), Error);
}

}  // namespace
}  // namespace caravan::items
