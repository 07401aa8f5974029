#include "caravan/ops/rms_norm.h"

#include <torch/torch.h>

#include "caravan/base/error.h"
#include "caravan/kernels/table.h"
#include "caravan/ops/threads.h"

namespace caravan::ops {

Tensor reference::rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  const Tensor wide = x.to(x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
  const Tensor scaled = wide * at::rsqrt(wide.pow(2).mean(-1, /*keepdim=*/true) + eps);
  return weight * scaled.to(x.scalar_type());
}

namespace {

bool has_kernel(const Tensor& x, const Tensor& weight) {
  return x.device().is_cpu() && weight.device().is_cpu() && x.scalar_type() == weight.scalar_type() &&
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}

Tensor run_kernel(const Tensor& input, const Tensor& weight, double eps) {
  const Tensor x = input.contiguous(), w = weight.contiguous();
  Tensor y = at::empty_like(x);
  const int64_t width = x.size(-1), rows = width == 0 ? 0 : x.numel() / width;
  const auto& kernels = kernels::table();
  parallel_rows(rows, width, [&](int64_t begin, int64_t end) {
    const int64_t at = begin * width, n = end - begin;
    if (x.scalar_type() == at::kFloat) {
      kernels.rms_norm_f32(x.const_data_ptr<float>() + at, w.const_data_ptr<float>(), y.mutable_data_ptr<float>() + at,
                           n, width, static_cast<float>(eps));
    } else {
      kernels.rms_norm_bf16(bf16_data(x) + at, bf16_data(w), mutable_bf16_data(y) + at, n, width,
                            static_cast<float>(eps));
    }
  });
  return y;
}

// dw is summed in parts of a fixed number of rows, so that it does not depend on the number of threads.
torch::autograd::variable_list backward_kernel(const Tensor& input, const Tensor& weight, const Tensor& gradient,
                                               double eps) {
  constexpr int64_t kRows = 128;
  const Tensor x = input.contiguous(), w = weight.contiguous(), g = gradient.to(x.scalar_type()).contiguous();
  Tensor dx = at::empty_like(x);
  const int64_t width = x.size(-1), rows = width == 0 ? 0 : x.numel() / width, parts = (rows + kRows - 1) / kRows;
  Tensor dw = at::zeros({parts, width}, x.options().dtype(at::kFloat));
  const auto& kernels = kernels::table();
  parallel_rows(parts, kRows * width * 2, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      const int64_t first = part * kRows, n = std::min(kRows, rows - first), at = first * width;
      float* sums = dw.mutable_data_ptr<float>() + part * width;
      if (x.scalar_type() == at::kFloat) {
        kernels.rms_norm_backward_f32(x.const_data_ptr<float>() + at, w.const_data_ptr<float>(),
                                      g.const_data_ptr<float>() + at, dx.mutable_data_ptr<float>() + at, sums, n, width,
                                      static_cast<float>(eps));
      } else {
        kernels.rms_norm_backward_bf16(bf16_data(x) + at, bf16_data(w), bf16_data(g) + at, mutable_bf16_data(dx) + at,
                                       sums, n, width, static_cast<float>(eps));
      }
    }
  });
  return {dx, dw.sum(0).to(weight.scalar_type()), Tensor()};
}

// With r = 1 / sqrt(mean(x^2) + eps):  dx = r (g w) - x r^3 mean(g w x),  dw = sum over rows of g x r.
struct RmsNormFunction : torch::autograd::Function<RmsNormFunction> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x, const Tensor& weight, double eps) {
    context->save_for_backward({x, weight});
    context->saved_data["eps"] = eps;
    return run_kernel(x, weight, eps);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    return backward_kernel(saved[0], saved[1], gradients[0], context->saved_data["eps"].toDouble());
  }
};

}  // namespace

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  check(x.dim() > 0 && weight.dim() == 1 && x.size(-1) == weight.size(0), ErrorCode::invalid_argument,
        "rms_norm: the last axis of x must match the weight's {} elements", weight.numel());
  if (!has_kernel(x, weight)) return reference::rms_norm(x, weight, eps);
  if (needs_gradient({x, weight})) return RmsNormFunction::apply(x, weight, eps);
  return run_kernel(x, weight, eps);
}

}  // namespace caravan::ops
