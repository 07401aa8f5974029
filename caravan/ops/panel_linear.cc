#include "caravan/ops/panel_linear.h"

#include <torch/torch.h>

#include "caravan/base/error.h"
#include "caravan/kernels/panel_gemm.h"
#include "caravan/ops/threads.h"

namespace caravan::ops {

Panels pack_panels(const Weight& weight) {
  const Tensor& w = weight.value;
  if (!w.defined() || is_block_quantized(weight.dtype) || !w.device().is_cpu() || w.scalar_type() != at::kFloat ||
      w.dim() != 2 || w.numel() == 0) {
    return {};
  }
  const Tensor dense = w.detach().contiguous();
  Panels panels{.rows = w.size(0), .columns = w.size(1)};
  const int64_t count = kernels::panel_count(panels.rows);
  panels.packed = at::empty({count, panels.columns, kernels::kPanelRows}, at::kFloat);
  parallel_rows(count, kernels::kPanelRows * panels.columns, [&](int64_t begin, int64_t end) {
    kernels::pack_panels(dense.const_data_ptr<float>(), panels.rows, panels.columns, begin, end,
                         panels.packed.mutable_data_ptr<float>());
  });
  return panels;
}

Tensor panel_linear(const Tensor& input, const Panels& panels) {
  check(input.device().is_cpu() && input.scalar_type() == at::kFloat && input.size(-1) == panels.columns,
        ErrorCode::internal, "panel_linear: fp32 inputs of {} features are expected", panels.columns);
  const Tensor x = input.contiguous();
  auto sizes = x.sizes().vec();
  sizes.back() = panels.rows;
  Tensor y = at::empty(sizes, x.options());
  const int64_t m = x.numel() / panels.columns, count = kernels::panel_count(panels.rows);
  kernels::PanelProduct whole{.x = x.const_data_ptr<float>(),
                              .m = m,
                              .width = panels.columns,
                              .x_stride = panels.columns,
                              .panels = panels.packed.const_data_ptr<float>(),
                              .rows = panels.rows,
                              .y = y.mutable_data_ptr<float>(),
                              .y_stride = panels.rows,
                              .add = false,
                              .first = 0,
                              .last = count};
  const auto multiply = kernels::panel_table().multiply;
  // Many inputs are shared out, and each thread meets the whole weight; of few inputs the weight is.
  constexpr int64_t kInputs = 96;
  if (m >= 2 * kInputs) {
    parallel_rows((m + kInputs - 1) / kInputs, kInputs * panels.columns * panels.rows / 16, [&](int64_t b, int64_t e) {
      kernels::PanelProduct part = whole;
      part.x += b * kInputs * part.x_stride;
      part.y += b * kInputs * part.y_stride;
      part.m = std::min(e * kInputs, m) - b * kInputs;
      multiply(part);
    });
  } else {
    parallel_rows(count, m * panels.columns * kernels::kPanelRows / 16, [&](int64_t begin, int64_t end) {
      kernels::PanelProduct part = whole;
      part.first = begin;
      part.last = end;
      multiply(part);
    });
  }
  return y;
}

}  // namespace caravan::ops
