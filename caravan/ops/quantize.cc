// One line a storage type.
#include "caravan/ops/quantize.h"

#include "caravan/base/error.h"
#include "caravan/kernels/quantize.h"
#include "caravan/ops/threads.h"

namespace caravan::ops {
namespace {

kernels::QuantizeKernel kernel_of(DType dtype) {
  const kernels::QuantizeTable& table = kernels::quantize_table();
  switch (dtype) {
    case DType::q4_0:
      return table.q4_0;
    case DType::q4_1:
      return table.q4_1;
    case DType::q5_0:
      return table.q5_0;
    case DType::q5_1:
      return table.q5_1;
    case DType::q8_0:
      return table.q8_0;
    case DType::q2_k:
      return table.q2_k;
    case DType::q3_k:
      return table.q3_k;
    case DType::q4_k:
      return table.q4_k;
    case DType::q5_k:
      return table.q5_k;
    case DType::q6_k:
      return table.q6_k;
    case DType::iq4_nl:
      return table.iq4_nl;
    case DType::iq4_xs:
      return table.iq4_xs;
    default:
      return nullptr;
  }
}

}  // namespace

bool can_quantize(DType dtype) { return kernel_of(dtype) != nullptr; }

void quantize_rows(const RowsOf& shape, std::span<const float> values, std::span<const float> importance,
                   std::byte* to) {
  const kernels::QuantizeKernel kernel = kernel_of(shape.dtype);
  check(kernel != nullptr, ErrorCode::unsupported, "{} is no type that weights are quantized to",
        to_string(shape.dtype));
  const DTypeInfo& info = dtype_info(shape.dtype);
  check(shape.columns > 0 && shape.columns % info.block_size == 0, ErrorCode::invalid_argument,
        "rows of {} elements are no whole number of {}-element {} blocks", shape.columns, info.block_size, info.name);
  check(std::ssize(values) == shape.rows * shape.columns &&
            (importance.empty() || std::ssize(importance) == shape.columns),
        ErrorCode::invalid_argument, "{} values and {} importances for {} rows of {}", values.size(), importance.size(),
        shape.rows, shape.columns);
  const int64_t row_bytes = shape.columns / info.block_size * info.block_bytes;
  const float* weights = importance.empty() ? nullptr : importance.data();
  parallel_pieces(shape.rows, 4, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      kernel(values.data() + row * shape.columns, weights, to + row * row_bytes, shape.columns);
    }
  });
}

}  // namespace caravan::ops
