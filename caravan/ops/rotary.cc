#include "caravan/ops/rotary.h"

#include <torch/torch.h>

#include "caravan/base/error.h"
#include "caravan/kernels/table.h"
#include "caravan/ops/threads.h"

namespace caravan::ops {

Tensor reference::rotate(const Tensor& x, const Tensor& cos, const Tensor& sin) {
  const int64_t r = cos.size(-1);
  const Tensor c = cos.unsqueeze(1), s = sin.unsqueeze(1);  // [T, 1, R]
  const Tensor head = x.slice(-1, 0, r);
  const Tensor turned = at::cat({-head.slice(-1, r / 2, r), head.slice(-1, 0, r / 2)}, -1);  // rotate_half
  const Tensor rotated = head * c + turned * s;
  return r == x.size(-1) ? rotated : at::cat({rotated, x.slice(-1, r)}, -1);
}

namespace {

Tensor run_kernel(const Tensor& input, const Tensor& cos, const Tensor& sin) {
  const Tensor x = input.contiguous();
  Tensor y = at::empty_like(x);
  const int64_t heads = x.size(1), width = x.size(2), r = cos.size(-1);
  const auto& kernels = kernels::table();
  parallel_rows(x.size(0), heads * width, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t at = t * heads * width;
      if (x.scalar_type() == at::kFloat) {
        kernels.rotate_f32(x.const_data_ptr<float>() + at, cos.const_data_ptr<float>() + t * r,
                           sin.const_data_ptr<float>() + t * r, y.mutable_data_ptr<float>() + at, heads, width, r);
      } else {
        kernels.rotate_bf16(bf16_data(x) + at, bf16_data(cos) + t * r, bf16_data(sin) + t * r,
                            mutable_bf16_data(y) + at, heads, width, r);
      }
    }
  });
  return y;
}

// A rotation's transpose is the rotation by the negative angle (cos and sin repeat in both halves).
struct RotateFunction : torch::autograd::Function<RotateFunction> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x, const Tensor& cos,
                        const Tensor& sin) {
    context->save_for_backward({cos, sin});
    return run_kernel(x, cos, sin);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    return {run_kernel(gradients[0], saved[0], saved[1].neg()), Tensor(), Tensor()};
  }
};

}  // namespace

Tensor rotate(const Tensor& x, const Tensor& cos, const Tensor& sin) {
  check(x.dim() == 3 && cos.sizes() == sin.sizes() && cos.dim() == 2 && cos.size(0) == x.size(0) &&
            cos.size(1) <= x.size(2) && cos.size(1) % 2 == 0,
        ErrorCode::invalid_argument, "rotate: x [T, H, D] and cos, sin [T, R] with even R <= D are expected");
  const bool has_kernel = x.device().is_cpu() && x.scalar_type() == cos.scalar_type() &&
                          (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
  if (!has_kernel) return reference::rotate(x, cos, sin);
  const Tensor c = cos.contiguous(), s = sin.contiguous();
  if (needs_gradient({x})) return RotateFunction::apply(x, c, s);
  return run_kernel(x, c, s);
}

}  // namespace caravan::ops
