#include "caravan/base/dtype.h"

#include <gtest/gtest.h>

#include "caravan/base/error.h"

namespace caravan {
namespace {

TEST(DType, TableIsIndexedByTheEnum) {
  for (int i = 0; i <= static_cast<int>(DType::iq4_xs); ++i) {
    EXPECT_EQ(static_cast<int>(dtype_info(static_cast<DType>(i)).dtype), i);
  }
}

TEST(DType, NamesOfConfigFilesAreFound) {
  EXPECT_EQ(find_dtype("torch.bfloat16"), DType::bf16);
  EXPECT_EQ(find_dtype("Q4_K"), DType::q4_k);
  EXPECT_EQ(find_dtype("float24"), std::nullopt);
}

TEST(DType, BytesOfBlocksAndOverflow) {
  const int64_t rows_of_blocks[] = {3, 64};
  EXPECT_EQ(tensor_bytes(DType::q4_0, rows_of_blocks, "t"), 3 * 2 * 18);
  const int64_t broken_row[] = {2, 33};
  EXPECT_THROW(tensor_bytes(DType::q4_0, broken_row, "t"), Error);
  const int64_t huge[] = {int64_t{1} << 32, int64_t{1} << 32};
  try {
    tensor_bytes(DType::f32, huge, "t");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.fault(), FileFault::overflow);
  }
}

}  // namespace
}  // namespace caravan
