#include "caravan/quant/gptq.h"

#include <torch/torch.h>

#include <algorithm>
#include <vector>

#include "caravan/base/error.h"
#include "caravan/ops/threads.h"
#include "caravan/quant/calibration.h"
#include "caravan/quant/grid.h"

namespace caravan::quant {
namespace {

using at::Tensor;

// The upper Cholesky factor of H^-1, H = gram / mean of its diagonal with damping: row j tells how columns after j make
// up for an error in j.
Tensor compensation(const Tensor& gram, double damping) {
  Tensor h = gram.to(at::kDouble).clone();
  Tensor diagonal = h.diagonal();
  const double mean = diagonal.mean().item<double>();
  if (mean > 0) h /= mean;  // else a layer that the text never reaches: each weight to the nearest
  diagonal.add_(at::eq(diagonal, 0).to(at::kDouble));  // columns that were never used: nothing depends on them
  for (double d = damping; d < 10; d *= 10) {
    const auto [factor, info] = at::linalg_cholesky_ex(h + d * at::eye(h.size(0), h.options()));
    if (info.item<int>() != 0) continue;
    const auto [upper, failed] = at::linalg_cholesky_ex(at::cholesky_inverse(factor), true);
    if (failed.item<int>() == 0) return upper.to(at::kFloat).contiguous();
  }
  fail(ErrorCode::invalid_argument, "gptq: the calibration's inputs have no usable statistics");
}

// Columns [begin, end) of one row: rounded block by block; errors [end - begin] is what later columns make up for.
class RowRounder {
 public:
  RowRounder(DType dtype, std::span<const float> importance, const Tensor& upper)
      : dtype_(dtype),
        importance_(importance),
        upper_(upper),
        block_(dtype_info(dtype).block_size),
        points_(grid_points(dtype)) {
    for (size_t i = 1; i < points_.size(); ++i) middles_.push_back(0.5f * (points_[i - 1] + points_[i]));
  }

  void round(float* row, int64_t begin, int64_t end, float* errors, std::byte* blocks) const {
    std::vector<float> start(static_cast<size_t>(block_)), step(start.size());
    std::vector<uint8_t> levels(start.size());
    const auto size = static_cast<size_t>(dtype_info(dtype_).block_bytes);
    const int64_t n = upper_.size(0);
    const auto* u = upper_.const_data_ptr<float>();
    for (int64_t first = begin; first < end; first += block_, blocks += size) {
      encode(row + first, first, blocks);
      read_grid(dtype_, {blocks, size}, start, step);
      for (int64_t k = 0; k < block_; ++k) {
        const int64_t j = first + k;
        const auto at = static_cast<size_t>(k);
        const size_t level = step[at] == 0 ? 0 : nearest((row[j] - start[at]) / step[at]);
        levels[at] = static_cast<uint8_t>(level);
        const float error = (row[j] - (start[at] + step[at] * points_[level])) / u[j * n + j];
        errors[j - begin] = error;
        for (int64_t next = j + 1; next < end; ++next) row[next] -= error * u[j * n + next];
      }
      put_levels(dtype_, levels, {blocks, size});
    }
  }

 private:
  size_t nearest(float position) const {
    return static_cast<size_t>(std::lower_bound(middles_.begin(), middles_.end(), position) - middles_.begin());
  }

  void encode(const float* values, int64_t first, std::byte* block) const {
    const auto n = static_cast<size_t>(block_);
    const std::span<const float> weights =
        importance_.empty() ? importance_ : importance_.subspan(static_cast<size_t>(first), n);
    ops::quantize_rows({dtype_, 1, block_}, {values, n}, weights, block);
  }

  DType dtype_;
  std::span<const float> importance_;
  const Tensor& upper_;
  int64_t block_;
  std::span<const float> points_;
  std::vector<float> middles_;  // between neighbouring points
};

}  // namespace

void gptq(const ops::RowsOf& shape, std::span<float> values, const Tensor& gram, std::span<std::byte> blocks,
          double damping) {
  const DTypeInfo& info = dtype_info(shape.dtype);
  check(has_grid(shape.dtype) && shape.columns % info.block_size == 0, ErrorCode::invalid_argument,
        "gptq: rows of {} in {}", shape.columns, to_string(shape.dtype));
  check(gram.dim() == 2 && gram.size(0) == shape.columns && gram.size(1) == shape.columns, ErrorCode::invalid_argument,
        "gptq: the statistics do not fit rows of {}", shape.columns);
  const Tensor upper = compensation(gram, damping);
  const Tensor diagonal = gram.diagonal().contiguous();
  const auto* d = diagonal.const_data_ptr<float>();
  const std::vector<float> importance = above_zero({d, d + shape.columns});

  constexpr int64_t kStride = 256;  // columns whose errors reach the rest in one product
  const int64_t row_bytes = shape.columns / info.block_size * info.block_bytes;
  const Tensor weights = at::from_blob(values.data(), {shape.rows, shape.columns}, at::kFloat);
  const RowRounder rounder(shape.dtype, importance, upper);
  for (int64_t begin = 0; begin < shape.columns; begin += kStride) {
    const int64_t end = std::min(begin + kStride, shape.columns);
    const Tensor errors = at::zeros({shape.rows, end - begin}, at::kFloat);
    auto* lost = errors.mutable_data_ptr<float>();
    ops::parallel_pieces(shape.rows, 1, [&](int64_t first, int64_t last) {
      for (int64_t row = first; row < last; ++row) {
        rounder.round(values.data() + row * shape.columns, begin, end, lost + row * (end - begin),
                      blocks.data() + row * row_bytes + begin / info.block_size * info.block_bytes);
      }
    });
    if (end == shape.columns) break;
    Tensor rest = weights.slice(1, end);
    rest.addmm_(errors, upper.slice(0, begin, end).slice(1, end), 1, -1);
  }
}

}  // namespace caravan::quant
