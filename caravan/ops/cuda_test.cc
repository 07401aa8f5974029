#include "caravan/ops/cuda.h"

#include <gtest/gtest.h>
#include <torch/cuda.h>

namespace caravan::ops {
namespace {

TEST(Cuda, LoadsOrSaysWhyNot) {
  std::string problem;
  const bool loaded = load_cuda(&problem);
  EXPECT_EQ(loaded, problem.empty()) << problem;
  EXPECT_EQ(loaded, load_cuda());  // the answer stays the same
  if (!loaded) EXPECT_FALSE(torch::cuda::is_available());
}

}  // namespace
}  // namespace caravan::ops
