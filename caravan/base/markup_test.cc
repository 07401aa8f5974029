#include "caravan/base/markup.h"

#include <gtest/gtest.h>

namespace caravan {
namespace {

TEST(Markup, EscapesAsMarkupsafeDoes) {
  EXPECT_EQ(escape_markup("a < b & \"c\" > 'd' é"), "a &lt; b &amp; &#34;c&#34; &gt; &#39;d&#39; é");
  EXPECT_EQ(escape_markup(""), "");
}

}  // namespace
}  // namespace caravan
