#include "caravan/ops/row_product.h"

#include <algorithm>

namespace caravan::ops {

RowProduct::RowProduct(const Weight& weight) : rows_(weight.rows), columns_(weight.columns) {
  const Tensor& stored = weight.packed.defined() ? weight.packed : weight.value;
  if (!stored.defined() || !stored.device().is_cpu() || !stored.is_contiguous()) return;
  data_ = stored.const_data_ptr();
  if (is_block_quantized(weight.dtype)) {
    const kernels::PackedType* type = kernels::packed_type(to_string(weight.dtype).data());
    if (type == nullptr || !weight.packed.defined()) return;
    kind_ = Kind::packed;
    multiply_ = kernels::table().packed->multiply[static_cast<size_t>(type->index)];
    tile_bytes_ = kernels::tile_bytes(*type, columns_);
  } else if (weight.dtype == DType::f16 && weight.packed.defined()) {
    kind_ = Kind::f16;
  } else if (stored.scalar_type() == at::kFloat) {
    kind_ = Kind::f32;
  }
}

bool RowProduct::fits(int64_t m) const {
  switch (kind_) {
    case Kind::packed:
      return true;
    case Kind::f16:
      return m <= 32;  // more go through slabs of fp32
    case Kind::f32:
      return m <= 16;  // more are better off in libtorch's GEMM
    case Kind::none:
      return false;
  }
  return false;
}

void RowProduct::prefetch(int64_t task) const {
  constexpr int64_t kBytes = 4096;  // from there on the kernels look ahead themselves
  if (kind_ != Kind::packed || task >= tasks()) return;
  const auto* from = static_cast<const char*>(data_) + task * tile_bytes_;
  for (int64_t i = 0; i < std::min(kBytes, tile_bytes_); i += 64) __builtin_prefetch(from + i);
}

void RowProduct::run(const RowInputs& inputs, float* y, int64_t stride, int64_t first, int64_t last) const {
  const int64_t begin = first * kTaskRows, end = std::min(rows_, last * kTaskRows);
  if (begin >= end) return;
  const auto& kernels = kernels::table();
  if (kind_ == Kind::packed) {
    multiply_(static_cast<const uint8_t*>(data_) + first * tile_bytes_, inputs.groups, y + begin,
              {.rows = end - begin, .width = columns_, .inputs = inputs.m, .stride = stride});
  } else if (kind_ == Kind::f16) {
    kernels.gemv_f16(static_cast<const uint16_t*>(data_), inputs.x, y,
                     {.begin = begin, .end = end, .width = columns_, .m = inputs.m, .stride = stride});
  } else {
    kernels.gemv_f32(static_cast<const float*>(data_), inputs.x, y, begin, end, columns_, inputs.m, stride);
  }
}

}  // namespace caravan::ops
