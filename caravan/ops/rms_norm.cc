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
    const Tensor x = saved[0].to(at::kFloat), w = saved[1].to(at::kFloat), g = gradients[0].to(at::kFloat);
    const Tensor r = at::rsqrt(x.pow(2).mean(-1, true) + context->saved_data["eps"].toDouble());
    const Tensor gw = g * w, normed = x * r;
    const Tensor dx = r * (gw - normed * (gw * normed).mean(-1, true));
    const Tensor dw = (g * normed).reshape({-1, w.size(0)}).sum(0);
    return {dx.to(saved[0].scalar_type()), dw.to(saved[1].scalar_type()), Tensor()};
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
