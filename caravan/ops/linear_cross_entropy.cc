// The loss is a scalar that is only ever scaled, so the forward pass can compute the gradients of a chunk while its
// logits are in the cache, and the backward pass multiplies them with the incoming factor ("cut cross entropy", Wijmans
// et al. 2024; Liger kernel). Memory: one chunk of logits instead of [R, V] in fp32 three times.
#include "caravan/ops/linear_cross_entropy.h"

#include <torch/torch.h>

#include <algorithm>

#include "caravan/base/error.h"
#include "caravan/kernels/table.h"
#include "caravan/ops/gemm.h"
#include "caravan/ops/threads.h"

namespace caravan::ops {

Tensor reference::linear_cross_entropy(const Tensor& hidden, const Tensor& weight, const Tensor& targets,
                                       double smoothing) {
  Tensor logits = at::linear(hidden, weight);
  if (logits.scalar_type() != at::kDouble) logits = logits.to(at::kFloat);
  return at::cross_entropy_loss(logits, targets, /*weight=*/{}, at::Reduction::Sum, kIgnoreIndex, smoothing);
}

namespace {

struct Chunk {
  Tensor loss, gradient;  // scalar; [r, V] of the logits' dtype
};

// The logits become the gradient.
Chunk kernel_loss(Tensor logits, const Tensor& targets, double smoothing, bool wants_gradient) {
  const int64_t classes = logits.size(1), rows = logits.size(0);
  const auto* wanted = targets.const_data_ptr<int64_t>();
  Tensor losses = at::empty({rows}, at::kDouble);
  const auto& kernels = kernels::table();
  parallel_rows(rows, classes * 8, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      losses.mutable_data_ptr<double>()[row] =
          logits.scalar_type() == at::kFloat
              ? kernels.cross_entropy_f32(logits.mutable_data_ptr<float>() + row * classes, wanted + row, 1, classes,
                                          static_cast<float>(smoothing), wants_gradient)
              : kernels.cross_entropy_bf16(mutable_bf16_data(logits) + row * classes, wanted + row, 1, classes,
                                           static_cast<float>(smoothing), wants_gradient);
    }
  });
  return {losses.sum().to(at::kFloat), wants_gradient ? logits : Tensor()};
}

// gradient = softmax - (1 - s) one_hot - s / V
Chunk chunk_loss(Tensor logits, const Tensor& targets, double smoothing, bool wants_gradient) {
  if (logits.device().is_cpu() && logits.scalar_type() != at::kDouble)
    return kernel_loss(std::move(logits), targets, smoothing, wants_gradient);
  const Tensor wide = logits.scalar_type() == at::kDouble ? logits : logits.to(at::kFloat);
  const Tensor log_p = at::log_softmax(wide, -1);
  const Tensor picked = targets.unsqueeze(1);
  const auto classes = static_cast<double>(logits.size(1));
  Tensor loss = log_p.gather(1, picked).sum().mul_(-(1.0 - smoothing));
  if (smoothing > 0) loss = loss - log_p.sum().mul(smoothing / classes);
  if (!wants_gradient) return {loss, {}};
  Tensor gradient = log_p.exp_();
  if (smoothing > 0) gradient.sub_(smoothing / classes);
  gradient.scatter_add_(1, picked, at::full({targets.size(0), 1}, -(1.0 - smoothing), gradient.options()));
  return {loss, gradient.to(logits.scalar_type())};
}

// About a million logits stay in the cache between the product, the softmax and the two products back. But each piece
// also reads the weight twice and adds to its whole gradient: with a large vocabulary pieces are as many rows as the
// weight has columns, so that this costs no more than the logits, up to 32 million of these.
int64_t rows_at_a_time(int64_t rows, int64_t classes, int64_t columns) {
  const int64_t cached = (int64_t{1} << 20) / classes, most = (int64_t{1} << 25) / classes;
  return std::clamp<int64_t>(std::max(cached, std::min(columns, most)), 64, std::max<int64_t>(rows, 64));
}

struct LinearCrossEntropy : torch::autograd::Function<LinearCrossEntropy> {
  // `differentiable`: whether autograd watches the caller; in here it never does.
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& hidden, const Tensor& weight,
                        const Tensor& targets, double smoothing, bool differentiable) {
    const bool wants_hidden = differentiable && hidden.requires_grad();
    const bool wants_weight = differentiable && weight.requires_grad();
    const int64_t rows = hidden.size(0), classes = weight.size(0);
    const int64_t step = rows_at_a_time(rows, classes, hidden.size(1));
    const auto wide = hidden.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    Tensor loss = at::zeros({}, hidden.options().dtype(wide));
    Tensor hidden_gradient = wants_hidden ? at::empty_like(hidden) : Tensor();
    Tensor weight_gradient;
    const bool pieces = step < rows;  // whose sum wants more digits than bf16 has
    if (wants_weight)
      weight_gradient = at::zeros(weight.sizes(), weight.options().dtype(pieces ? wide : weight.scalar_type()));
    for (int64_t at = 0; at < rows; at += step) {
      const int64_t end = std::min(at + step, rows);
      const Tensor h = hidden.slice(0, at, end);
      const Chunk chunk =
          chunk_loss(product_nt(h, weight), targets.slice(0, at, end), smoothing, wants_hidden || wants_weight);
      loss.add_(chunk.loss);
      if (wants_hidden) {
        Tensor to = hidden_gradient.slice(0, at, end);
        product_nn_into(to, chunk.gradient, weight);
      }
      if (wants_weight && weight_gradient.scalar_type() == h.scalar_type()) {
        add_product_tn(weight_gradient, chunk.gradient, h);
      } else if (wants_weight) {
        weight_gradient.add_(at::mm(chunk.gradient.t(), h));
      }
    }
    context->save_for_backward({hidden_gradient, weight_gradient});
    context->saved_data["weight_dtype"] = static_cast<int64_t>(weight.scalar_type());
    return loss;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    // In place: they are as large as the head. A second backward pass is then refused by autograd.
    const auto scaled = [&](Tensor t) { return t.defined() ? t.mul_(gradients[0].to(t.scalar_type())) : t; };
    Tensor of_weight = scaled(saved[1]);
    if (of_weight.defined())
      of_weight = of_weight.to(static_cast<at::ScalarType>(context->saved_data["weight_dtype"].toInt()));
    return {scaled(saved[0]), of_weight, Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

Tensor linear_cross_entropy(const Tensor& hidden, const Tensor& weight, const Tensor& targets, double smoothing) {
  check(hidden.dim() == 2 && weight.dim() == 2 && hidden.size(1) == weight.size(1) && targets.dim() == 1 &&
            targets.size(0) == hidden.size(0),
        ErrorCode::invalid_argument, "linear_cross_entropy: hidden [R, C], weight [V, C] and targets [R] are expected");
  check(smoothing >= 0 && smoothing < 1, ErrorCode::invalid_argument, "label smoothing lies in [0, 1), got {}",
        smoothing);
  if (targets.numel() > 0) {
    const int64_t low = targets.min().item<int64_t>(), high = targets.max().item<int64_t>();
    check(low >= 0 && high < weight.size(0), ErrorCode::invalid_argument,
          "the target {} is outside the vocabulary of {}", low < 0 ? low : high, weight.size(0));
  }
  const bool known = hidden.scalar_type() == weight.scalar_type() && hidden.scalar_type() != at::kHalf;
  if (!known) return reference::linear_cross_entropy(hidden, weight, targets, smoothing);
  return LinearCrossEntropy::apply(hidden, weight, targets.contiguous(), smoothing, needs_gradient({hidden, weight}));
}

}  // namespace caravan::ops
