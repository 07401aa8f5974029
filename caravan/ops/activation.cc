#include "caravan/ops/activation.h"

#include <torch/torch.h>

#include <array>
#include <numbers>

#include "caravan/base/error.h"
#include "caravan/kernels/table.h"
#include "caravan/ops/threads.h"

namespace caravan::ops {
namespace {

struct Name {
  std::string_view name;
  Activation activation;
};
constexpr std::array kNames = std::to_array<Name>({
    {"silu", Activation::silu},
    {"swish", Activation::silu},
    {"gelu", Activation::gelu},
    {"gelu_new", Activation::gelu_tanh},
    {"gelu_fast", Activation::gelu_tanh},
    {"gelu_pytorch_tanh", Activation::gelu_tanh},
    {"gelu_accurate", Activation::gelu_tanh},
    {"gelu_python_tanh", Activation::gelu_tanh},
    {"gelu_python", Activation::gelu},
    {"gelu_10", Activation::gelu_clipped},
    {"relu", Activation::relu},
    {"relu2", Activation::relu_squared},
    {"relu6", Activation::relu6},
    {"leaky_relu", Activation::leaky_relu},
    {"hardswish", Activation::hardswish},
    {"laplace", Activation::laplace},
    {"sqrtsoftplus", Activation::sqrt_softplus},
    {"quick_gelu", Activation::quick_gelu},
    {"sigmoid", Activation::sigmoid},
    {"tanh", Activation::tanh},
    {"mish", Activation::mish},
    {"linear", Activation::identity},
});

Tensor run_swiglu(const Tensor& gate, const Tensor& up) {
  const Tensor g = gate.contiguous(), u = up.contiguous();
  Tensor y = at::empty_like(g);
  const auto& kernels = kernels::table();
  // An exponential costs about as much as twenty memory-bound elements.
  parallel_rows(g.numel(), 20, [&](int64_t begin, int64_t end) {
    if (g.scalar_type() == at::kFloat) {
      kernels.swiglu_f32(g.const_data_ptr<float>() + begin, u.const_data_ptr<float>() + begin,
                         y.mutable_data_ptr<float>() + begin, end - begin);
    } else {
      kernels.swiglu_bf16(bf16_data(g) + begin, bf16_data(u) + begin, mutable_bf16_data(y) + begin, end - begin);
    }
  });
  return y;
}

// Forward and backward in one pass each over gate and up.
struct SwigluFunction : torch::autograd::Function<SwigluFunction> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& gate, const Tensor& up) {
    const Tensor g = gate.contiguous(), u = up.contiguous();
    context->save_for_backward({g, u});
    return run_swiglu(g, u);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const Tensor &gate = saved[0], &up = saved[1], g = gradients[0].to(gate.scalar_type()).contiguous();
    Tensor d_gate = at::empty_like(gate), d_up = at::empty_like(up);
    const auto& kernels = kernels::table();
    parallel_rows(g.numel(), 4, [&](int64_t begin, int64_t end) {
      if (gate.scalar_type() == at::kFloat) {
        kernels.swiglu_backward_f32(gate.const_data_ptr<float>() + begin, up.const_data_ptr<float>() + begin,
                                    g.const_data_ptr<float>() + begin, d_gate.mutable_data_ptr<float>() + begin,
                                    d_up.mutable_data_ptr<float>() + begin, end - begin);
      } else {
        kernels.swiglu_backward_bf16(bf16_data(gate) + begin, bf16_data(up) + begin, bf16_data(g) + begin,
                                     mutable_bf16_data(d_gate) + begin, mutable_bf16_data(d_up) + begin, end - begin);
      }
    });
    return {d_gate, d_up};
  }
};

}  // namespace

Activation find_activation(std::string_view name, std::string_view where) {
  std::string known;
  for (const Name& entry : kNames) {
    if (entry.name == name) return entry.activation;
    known += (known.empty() ? "" : ", ") + std::string(entry.name);
  }
  fail_file(FileFault::unsupported, where, "the activation function \"{}\" is not known; known are {}", name, known);
}

Tensor activate(const Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::silu:
      return at::silu(x);
    case Activation::gelu:
      return at::gelu(x);
    case Activation::gelu_tanh:
      return at::gelu(x, "tanh");
    case Activation::gelu_clipped:
      return at::clip(at::gelu(x), -10, 10);
    case Activation::relu6:
      return at::relu6(x);
    case Activation::leaky_relu:
      return at::leaky_relu(x);
    case Activation::hardswish:
      return at::hardswish(x);
    case Activation::laplace:  // sigma 1 / sqrt(4 pi), mu 1 / sqrt(2)
      return 0.5 * (1 + at::erf((x - 0.707107) / (0.282095 * std::numbers::sqrt2)));
    case Activation::sqrt_softplus:
      return at::softplus(x).sqrt();
    case Activation::relu:
      return at::relu(x);
    case Activation::relu_squared:
      return at::relu(x).pow(2);
    case Activation::quick_gelu:
      return x * at::sigmoid(1.702 * x);
    case Activation::sigmoid:
      return at::sigmoid(x);
    case Activation::tanh:
      return at::tanh(x);
    case Activation::mish:
      return at::mish(x);
    case Activation::identity:
      return x;
  }
  fail(ErrorCode::internal, "activate: unknown activation");
}

Tensor reference::gated(const Tensor& gate, const Tensor& up, Activation activation) {
  return activate(gate, activation) * up;
}

Tensor gated(const Tensor& gate, const Tensor& up, Activation activation) {
  const bool has_kernel = activation == Activation::silu && gate.device().is_cpu() &&
                          gate.scalar_type() == up.scalar_type() &&
                          (gate.scalar_type() == at::kFloat || gate.scalar_type() == at::kBFloat16);
  if (!has_kernel) return reference::gated(gate, up, activation);
  if (needs_gradient({gate, up})) return SwigluFunction::apply(gate, up);
  return run_swiglu(gate, up);
}

}  // namespace caravan::ops
