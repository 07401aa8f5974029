#include "caravan/ops/scalar_types.h"

#include <array>

#include "caravan/base/error.h"

namespace caravan::ops {
namespace {

struct ScalarPair {
  DType dtype;
  at::ScalarType scalar;
};
constexpr std::array kScalars = std::to_array<ScalarPair>({
    {DType::f64, at::kDouble},
    {DType::f32, at::kFloat},
    {DType::f16, at::kHalf},
    {DType::bf16, at::kBFloat16},
    {DType::i64, at::kLong},
    {DType::i32, at::kInt},
    {DType::i16, at::kShort},
    {DType::i8, at::kChar},
    {DType::u8, at::kByte},
    {DType::boolean, at::kBool},
    {DType::f8_e4m3, at::kFloat8_e4m3fn},
    {DType::f8_e5m2, at::kFloat8_e5m2},
});

}  // namespace

at::ScalarType to_scalar_type(DType dtype) {
  for (const ScalarPair& pair : kScalars) {
    if (pair.dtype == dtype) return pair.scalar;
  }
  fail(ErrorCode::unsupported, "{} tensors have no dense form here", to_string(dtype));
}

DType to_dtype(at::ScalarType type) {
  for (const ScalarPair& pair : kScalars) {
    if (pair.scalar == type) return pair.dtype;
  }
  fail(ErrorCode::unsupported, "tensors of type {} cannot be stored", c10::toString(type));
}

}  // namespace caravan::ops
