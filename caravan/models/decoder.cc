#include "caravan/models/decoder.h"

#include <ATen/Context.h>
#include <torch/torch.h>

namespace caravan::models {
namespace {

using LayerFunction = std::function<Tensor(const Tensor&)>;

// What dropout of a layer on this device draws from.
at::Generator generator_of(const Tensor& x) { return at::globalContext().defaultGenerator(x.device()); }

// Gradient checkpointing (Chen et al. 2016): the forward pass keeps only the layer's input; the backward pass runs the
// layer again with the same random numbers and differentiates that run. Parameter gradients accumulate from inside.
struct CheckpointFunction : torch::autograd::Function<CheckpointFunction> {
  struct Holder final : torch::CustomClassHolder {
    explicit Holder(LayerFunction f) : layer(std::move(f)) {}
    LayerFunction layer;
  };

  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x,
                        const c10::intrusive_ptr<Holder>& holder) {
    context->save_for_backward({x});
    context->saved_data["random_state"] = generator_of(x).get_state();
    context->saved_data["layer"] = c10::IValue::make_capsule(holder);
    const torch::NoGradGuard no_grad;
    return holder->layer(x);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto holder = c10::static_intrusive_pointer_cast<Holder>(context->saved_data["layer"].toCapsule());
    const at::AutoGradMode enable(true);
    const Tensor x = context->get_saved_variables()[0].detach().requires_grad_();
    at::Generator generator = generator_of(x);
    const Tensor state_now = generator.get_state();
    generator.set_state(context->saved_data["random_state"].toTensor());
    const Tensor y = holder->layer(x);
    generator.set_state(state_now);
    torch::autograd::backward({y}, {gradients[0]});
    return {x.grad(), Tensor()};
  }
};

}  // namespace

Tensor dropped(const Tensor& x, double dropout) { return dropout > 0 ? at::dropout(x, dropout, /*train=*/true) : x; }

Tensor run_layer(const LayerFunction& layer, const Tensor& x, bool checkpoint) {
  if (!checkpoint || !at::GradMode::is_enabled()) return layer(x);
  // Autograd calls a custom function back only where an input asks for gradients; with frozen embeddings none does.
  const Tensor input = x.requires_grad() ? x : x.detach().requires_grad_();
  return CheckpointFunction::apply(input, c10::make_intrusive<CheckpointFunction::Holder>(layer));
}

}  // namespace caravan::models
