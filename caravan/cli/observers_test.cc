#include "caravan/cli/observers.h"

#include <gtest/gtest.h>

#include "caravan/base/error.h"
#include "caravan/nn/norm.h"

namespace caravan::cli {
namespace {

TEST(Stopper, WatchesUntilItIsDisarmed) {
  const auto flag = std::make_shared<std::atomic<bool>>(false);
  const nn::RmsNorm module(4, 1e-6);
  EXPECT_EQ(nn::observer(), nullptr);
  {
    Stopper stopper(flag);
    EXPECT_EQ(nn::observer(), &stopper);
    stopper.enter(module);
    *flag = true;
    EXPECT_THROW(stopper.enter(module), Error);
    stopper.disarm();
    EXPECT_EQ(nn::observer(), nullptr);  // or decoding would run layer by layer
    stopper.disarm();
    EXPECT_EQ(nn::observer(), nullptr);
  }
  { const Stopper stopper(flag); }
  EXPECT_EQ(nn::observer(), nullptr);
  const Stopper without(nullptr);
  EXPECT_EQ(nn::observer(), nullptr);
}

}  // namespace
}  // namespace caravan::cli
