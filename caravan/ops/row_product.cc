#include "caravan/ops/row_product.h"

#include <algorithm>
#include <array>

#include "caravan/base/error.h"

namespace caravan::ops {

const kernels::PackedType* packed_type(DType dtype) {
  static const auto types = [] {  // looked up by name once: products ask for them hundreds of times a token
    std::array<const kernels::PackedType*, static_cast<size_t>(DType::iq4_xs) + 1> all{};
    for (size_t i = 0; i < all.size(); ++i) all[i] = kernels::packed_type(to_string(static_cast<DType>(i)).data());
    return all;
  }();
  return types[static_cast<size_t>(dtype)];
}

RowInputs RowInputBuffer::inputs(const float* x, int64_t m, int64_t columns, const InputForms& forms) {
  constexpr int64_t kLine = 64;
  const auto lines = [](int64_t bytes) { return (bytes + kLine - 1) / kLine * kLine; };
  const int64_t n = m * columns;
  const bool copies = forms.floats && !kernels::is_one_piece(m, columns);
  const int64_t groups = forms.integers ? lines(n / kernels::kGroupColumns * sizeof(kernels::InputGroup)) : 0;
  const int64_t floats = copies ? lines(n * static_cast<int64_t>(sizeof(float))) : 0;
  const int64_t halves = forms.halves ? lines(n * static_cast<int64_t>(sizeof(kernels::bf16))) : 0;
  if (const int64_t size = groups + floats + halves; size > size_) {
    memory_.reset(static_cast<std::byte*>(std::aligned_alloc(kLine, static_cast<size_t>(size))));
    size_ = memory_ ? size : 0;
    check(memory_ != nullptr, ErrorCode::out_of_memory, "no memory for {} bytes of inputs", size);
  }
  std::byte* at = memory_.get();
  return {.x = x,
          .m = m,
          .columns = columns,
          .groups = groups > 0 ? reinterpret_cast<const kernels::InputGroup*>(at) : nullptr,
          .floats = copies         ? reinterpret_cast<const float*>(at + groups)
                    : forms.floats ? x
                                   : nullptr,
          .halves = halves > 0 ? reinterpret_cast<const kernels::bf16*>(at + groups + floats) : nullptr};
}

void RowInputBuffer::fill(const RowInputs& in, int64_t first, int64_t last) {
  const auto& rows = kernels::dense_rows_table();
  const kernels::SplitShape shape{in.m, in.columns, first, last};
  if (in.groups != nullptr) {
    const int64_t width = in.columns / kernels::kGroupColumns;
    kernels::table().packed->quantize(
        in.x + first * in.columns, const_cast<kernels::InputGroup*>(in.groups) + first * width, (last - first) * width);
  }
  if (in.floats != nullptr && in.floats != in.x) rows.split_f32(in.x, const_cast<float*>(in.floats), shape);
  if (in.halves != nullptr) rows.split_bf16(in.x, const_cast<kernels::bf16*>(in.halves), shape);
}

RowProduct::RowProduct(const Weight& weight) : rows_(weight.rows), columns_(weight.columns) {
  const Tensor& stored = weight.packed.defined() ? weight.packed : weight.value;
  if (!stored.defined() || !stored.device().is_cpu() || !stored.is_contiguous()) return;
  data_ = stored.const_data_ptr();
  if (is_block_quantized(weight.dtype)) {
    const kernels::PackedType* type = packed_type(weight.dtype);
    if (type == nullptr || !weight.packed.defined()) return;
    kind_ = Kind::packed;
    multiply_ = kernels::table().packed->multiply[static_cast<size_t>(type->index)];
    task_bytes_ = kernels::tile_bytes(*type, columns_);
    return;
  }
  const bool from_file = weight.packed.defined();
  if (from_file && weight.dtype == DType::f16) kind_ = Kind::f16;
  if (from_file && weight.dtype == DType::bf16) kind_ = Kind::bf16;
  if (stored.scalar_type() == at::kFloat) kind_ = Kind::f32;
  task_bytes_ = kTaskRows * columns_ * static_cast<int64_t>(stored.element_size());
}

kernels::Ahead RowProduct::bytes(int64_t first, int64_t last, int64_t most) const {
  const auto* from = static_cast<const char*>(data_) + first * task_bytes_;
  return {.at = from, .end = from + std::min(most, std::max<int64_t>(0, last - first) * task_bytes_)};
}

void RowProduct::run(const RowInputs& inputs, float* y, int64_t stride, int64_t first, int64_t last) const {
  const int64_t begin = first * kTaskRows, end = std::min(rows_, last * kTaskRows);
  if (begin >= end) return;
  if (kind_ == Kind::packed) {
    multiply_(static_cast<const uint8_t*>(data_) + first * task_bytes_, inputs.groups, y + begin,
              {.rows = end - begin, .width = columns_, .inputs = inputs.m, .stride = stride});
    return;
  }
  const auto& kernels = kernels::dense_rows_table();
  const kernels::DenseRows shape{begin, end, columns_, inputs.m, stride};
  if (kind_ == Kind::f16) kernels.f16(static_cast<const uint16_t*>(data_), inputs.floats, y, shape);
  if (kind_ == Kind::bf16) kernels.bf16(static_cast<const uint16_t*>(data_), inputs.halves, y, shape);
  if (kind_ == Kind::f32) kernels.f32(static_cast<const float*>(data_), inputs.floats, y, shape);
}

}  // namespace caravan::ops
