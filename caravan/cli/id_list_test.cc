#include "caravan/cli/id_list.h"

#include <gtest/gtest.h>

#include "caravan/base/error.h"

namespace caravan::cli {
namespace {

TEST(IdList, ReadsCommasSpacesAndBrackets) {
  const std::vector<int32_t> ids = {1, 2, 30000};
  for (const char* text : {"1,2,30000", "1 2 30000", "[1, 2, 30000]", "  1 , 2,\t30000\n", "[ 1 2 30000 ]"}) {
    EXPECT_EQ(parse_ids(text, "--ids"), ids) << text;
  }
  EXPECT_TRUE(parse_ids("", "--ids").empty());
  EXPECT_TRUE(parse_ids("[]", "--ids").empty());
}

TEST(IdList, RefusesWhatIsNoId) {
  for (const char* text : {"1,x", "-1", "1.5", "2147483648", "1,,2", "[1", ",1", "0x10", "[1,[2]]"}) {
    EXPECT_THROW(parse_ids(text, "--ids"), Error) << text;
  }
}

}  // namespace
}  // namespace caravan::cli
