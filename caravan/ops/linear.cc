#include "caravan/ops/linear.h"

#include <torch/torch.h>

#include <algorithm>

#include "caravan/base/error.h"
#include "caravan/kernels/table.h"
#include "caravan/ops/dequantize.h"
#include "caravan/ops/threads.h"

namespace caravan::ops {
namespace {

// Rows [begin, end) of a block-quantized weight as fp32.
Tensor dequantize_rows(const Weight& weight, int64_t begin, int64_t end) {
  const DTypeInfo& info = dtype_info(weight.dtype);
  const int64_t row_bytes = weight.columns / info.block_size * info.block_bytes;
  Tensor rows = at::empty({end - begin, weight.columns}, at::kFloat);
  const auto* from = static_cast<const std::byte*>(weight.value.const_data_ptr()) + begin * row_bytes;
  auto* to = rows.mutable_data_ptr<float>();
  parallel_pieces(end - begin, 64, [&](int64_t first, int64_t last) {
    dequantize(weight.dtype, from + first * row_bytes, to + first * weight.columns, (last - first) * weight.columns);
  });
  return rows;
}

kernels::BlockGemv block_gemv(DType dtype) {
  const kernels::BlockTable& blocks = *kernels::table().blocks;
  switch (dtype) {
    case DType::q4_0:
      return blocks.q4_0;
    case DType::q4_1:
      return blocks.q4_1;
    case DType::q5_0:
      return blocks.q5_0;
    case DType::q5_1:
      return blocks.q5_1;
    case DType::q8_0:
      return blocks.q8_0;
    case DType::q2_k:
      return blocks.q2_k;
    case DType::q3_k:
      return blocks.q3_k;
    case DType::q4_k:
      return blocks.q4_k;
    case DType::q5_k:
      return blocks.q5_k;
    case DType::q6_k:
      return blocks.q6_k;
    case DType::iq4_nl:
      return blocks.iq4_nl;
    case DType::iq4_xs:
      return blocks.iq4_xs;
    default:
      return nullptr;
  }
}

// A few inputs: straight from the blocks, in the time that reading them takes.
void few_through_blocks(const Tensor& x, const Weight& weight, int64_t m, float* y) {
  const DTypeInfo& info = dtype_info(weight.dtype);
  const int64_t row_bytes = weight.columns / info.block_size * info.block_bytes;
  const kernels::BlockGemv gemv = block_gemv(weight.dtype);
  const auto* rows = static_cast<const uint8_t*>(weight.value.const_data_ptr());
  const auto* inputs = x.const_data_ptr<float>();
  parallel_rows(weight.rows, weight.columns, [&](int64_t begin, int64_t end) {
    gemv(rows + begin * row_bytes, inputs, y + begin, end - begin, weight.columns, m, weight.rows);
  });
}

// Many inputs: slab by slab as fp32, each multiplied while it lies in the cache; never a whole dense copy.
void many_through_slabs(const Tensor& x, const Weight& weight, const Tensor& y) {
  constexpr int64_t kSlabElements = 1 << 18;  // 1 MiB: half of a core's second-level cache on the machines measured
  const int64_t slab = std::max<int64_t>(16, kSlabElements / weight.columns);
  for (int64_t begin = 0; begin < weight.rows; begin += slab) {
    const int64_t end = std::min(weight.rows, begin + slab);
    Tensor part = y.slice(1, begin, end);
    at::mm_out(part, x, dequantize_rows(weight, begin, end).t());
  }
}

Tensor block_linear(const Tensor& input, const Weight& weight) {
  constexpr int64_t kFew = 16;
  const Tensor x = input.contiguous().view({-1, weight.columns});
  Tensor y = at::empty({x.size(0), weight.rows}, x.options());
  if (x.size(0) <= kFew) {
    few_through_blocks(x, weight, x.size(0), y.mutable_data_ptr<float>());
  } else {
    many_through_slabs(x, weight, y);
  }
  auto sizes = input.sizes().vec();
  sizes.back() = weight.rows;
  return y.view(sizes);
}

// A few input rows: reading the weight once bounds the time, so each thread streams its share of the weight's rows.
bool is_small(const Tensor& x, const Weight& weight) {
  constexpr int64_t kRows = 2;  // from 3 rows on, libtorch's GEMM was as fast for fp32
  return x.device().is_cpu() && x.numel() > 0 && x.numel() / weight.columns <= kRows &&
         x.scalar_type() == weight.value.scalar_type() &&
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) && weight.value.is_contiguous();
}

Tensor small_linear(const Tensor& input, const Weight& weight) {
  const Tensor x = input.contiguous();
  const int64_t m = x.numel() / weight.columns;
  auto sizes = x.sizes().vec();
  sizes.back() = weight.rows;
  Tensor y = at::empty(sizes, x.options());
  const auto& kernels = kernels::table();
  parallel_rows(weight.rows, weight.columns, [&](int64_t begin, int64_t end) {
    if (x.scalar_type() == at::kFloat) {
      kernels.gemv_f32(weight.value.const_data_ptr<float>(), x.const_data_ptr<float>(), y.mutable_data_ptr<float>(),
                       begin, end, weight.columns, m, weight.rows);
    } else {
      kernels.gemv_bf16(bf16_data(weight.value), bf16_data(x), mutable_bf16_data(y), begin, end, weight.columns, m,
                        weight.rows);
    }
  });
  return y;
}

}  // namespace

Tensor dense(const Weight& weight, at::ScalarType dtype) {
  if (!is_block_quantized(weight.dtype)) return weight.value.to(dtype);
  return dequantize_rows(weight, 0, weight.rows).to(dtype);
}

Tensor linear(const Tensor& x, const Weight& weight, const Tensor& bias) {
  check(weight.value.defined(), ErrorCode::internal,
        "linear: the weight has no values; load or initialize the model first");
  check(x.size(-1) == weight.columns, ErrorCode::invalid_argument, "linear: {} input features, the weight has {}",
        x.size(-1), weight.columns);
  if (is_block_quantized(weight.dtype)) {
    const bool from_blocks = x.device().is_cpu() && x.scalar_type() == at::kFloat && x.numel() > 0 &&
                             weight.value.device().is_cpu() && !needs_gradient({x, bias});
    if (from_blocks) {
      Tensor y = block_linear(x, weight);
      return bias.defined() ? y.add_(bias) : y;
    }
    return at::linear(x, dense(weight, x.scalar_type()), bias.defined() ? std::optional<Tensor>(bias) : std::nullopt);
  }
  if (is_small(x, weight) && !needs_gradient({x, weight.value, bias})) {
    Tensor y = small_linear(x, weight);
    return bias.defined() ? y.add_(bias) : y;
  }
  return at::linear(x, weight.value, bias.defined() ? std::optional<Tensor>(bias) : std::nullopt);
}

Tensor embedding(const Tensor& ids, const Weight& weight, int64_t padding_index) {
  check(weight.value.defined(), ErrorCode::internal,
        "embedding: the weight has no values; load or initialize the model first");
  if (ids.numel() > 0) {
    const int64_t low = ids.min().item<int64_t>(), high = ids.max().item<int64_t>();
    check(low >= 0 && high < weight.rows, ErrorCode::invalid_argument, "token id {} is outside the vocabulary of {}",
          low < 0 ? low : high, weight.rows);
  }
  if (!is_block_quantized(weight.dtype)) return at::embedding(weight.value, ids, padding_index);
  const Tensor flat = ids.reshape({-1}).to(at::kCPU).contiguous();
  Tensor rows = at::empty({flat.numel(), weight.columns}, at::kFloat);
  const DTypeInfo& info = dtype_info(weight.dtype);
  const int64_t row_bytes = weight.columns / info.block_size * info.block_bytes;
  const auto* blocks = static_cast<const std::byte*>(weight.value.const_data_ptr());
  parallel_rows(flat.numel(), weight.columns, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      dequantize(weight.dtype, blocks + flat.const_data_ptr<int64_t>()[i] * row_bytes,
                 rows.mutable_data_ptr<float>() + i * weight.columns, weight.columns);
    }
  });
  auto sizes = ids.sizes().vec();
  sizes.push_back(weight.columns);
  return rows.view(sizes);
}

}  // namespace caravan::ops
