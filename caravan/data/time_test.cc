#include "caravan/data/time.h"

#include <gtest/gtest.h>

namespace caravan::data {
namespace {

TEST(ParseTime, ReadsNumbersAndIsoDates) {
  EXPECT_EQ(parse_time("881250949"), 881250949.0);
  EXPECT_EQ(parse_time(" 1.5e3 "), 1500.0);
  EXPECT_EQ(parse_time("+7"), 7.0);
  EXPECT_EQ(parse_time("-7"), -7.0);
  EXPECT_EQ(parse_time("1970-01-01"), 0.0);
  EXPECT_EQ(parse_time("2014-07-22"), 1405987200.0);
  EXPECT_EQ(parse_time("2014-07-22T10:15:30.5Z"), 1406024130.5);
  EXPECT_EQ(parse_time("2014-07-22 10:15"), 1406024100.0);
  EXPECT_EQ(parse_time("2014-07-22 12:15:30+02:00"), 1406024130.0);
  EXPECT_EQ(parse_time("2014-07-22T04:45:30 -0530"), 1406024130.0);
  EXPECT_EQ(parse_time("2014-07-22 10:15:30 UTC"), 1406024130.0);
  EXPECT_EQ(parse_time("1969-12-31T23:59:59"), -1.0);
}

TEST(ParseTime, RefusesEverythingElse) {
  for (const char* text : {"",
                           " ",
                           "x",
                           "12x",
                           "nan",
                           "inf",
                           "1e999",
                           "2014-13-01",
                           "2014-02-30",
                           "2014-7-2",
                           "2014-07-22T",
                           "2014-07-22T25:00",
                           "2014-07-22T10:60",
                           "2014-07-22T10:15:61",
                           "2014-07-22T10:15:30.",
                           "2014-07-22T10:15+25:00",
                           "2014-07-22Z",
                           "09 13, 2009",
                           "22/07/2014",
                           "1 2",
                           "0x10",
                           "--1"})
    EXPECT_FALSE(parse_time(text)) << text;
}

}  // namespace
}  // namespace caravan::data
