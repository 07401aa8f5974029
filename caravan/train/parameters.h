// The weights that a run trains, in flat fp32 buffers: values, gradients, and whatever an optimizer keeps beside them.
// One pass over a span of the buffer updates many tensors, which is what makes an optimizer step of a small model
// cheap.
//
//   ParameterStore store(model, {.precision = Precision::bf16});   // the model now computes with bf16 copies
//   store.begin_window();                                          // forget the gradients
//   loss.backward();                                               // gradients arrive in store.gradients(), in fp32
//   optimizer.step(lr); store.publish();                           // the model sees the new weights
//
// Mixed precision as in Micikevicius et al. 2018, with bf16: fp32 master weights here, bf16 weights, activations and
// gradients in the model. In fp32 the model's weights are views of the buffer.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "caravan/nn/module.h"

namespace caravan::train {

using at::Tensor;

enum class Precision { fp32, bf16 };
enum class Role { matrix, embedding, head, norm, bias };  // what a weight is to optimizers

struct ParameterSlot {
  std::string name;  // "model.layers.0.self_attn.q_proj.weight"
  Role role = Role::matrix;
  bool decays = true;
  nn::Parameter* parameter = nullptr;
  int64_t offset = 0, size = 0;  // elements in the flat buffers
  Tensor value, gradient;        // fp32 views of the flat buffers, with the parameter's shape
  bool fresh = true;             // no gradient arrived in this window yet
};

// Neighbouring slots that an optimizer treats alike.
struct ParameterSpan {
  int64_t begin = 0, end = 0;
  bool decays = true, matrix = true;
};

struct StoreOptions {
  Precision precision = Precision::fp32;
  std::vector<Role> no_decay = {Role::norm, Role::bias};
  std::function<bool(const std::string& name)> trains = {};  // none: every weight; others stay frozen
};

class ParameterStore {
 public:
  ParameterStore(nn::Module& model, const StoreOptions& options);
  ~ParameterStore();  // takes its hooks off the model's weights, which stay usable
  ParameterStore(const ParameterStore&) = delete;

  std::vector<ParameterSlot>& slots() { return slots_; }
  const std::vector<ParameterSpan>& spans() const { return spans_; }
  const Tensor& values() const { return values_; }        // [elements] fp32
  const Tensor& gradients() const { return gradients_; }  // [elements] fp32
  Precision precision() const { return precision_; }
  int64_t parameter_count() const;

  void begin_window();           // before the first backward pass of an optimizer step
  void end_window();             // after the last one: weights that got no gradient have a zero one
  double gradient_norm() const;  // over all weights, as torch.nn.utils.clip_grad_norm_ counts it
  void scale_gradients(double factor);
  void take_values();  // after values were loaded into the model: the model computes with the store again
  void publish();      // copies the values into the model's bf16 weights

  // A flat fp32 buffer of zeros laid out like values(), and its views by weight: "NAME.suffix".
  Tensor zeros_like_values() const { return at_zeros_like(values_); }
  std::vector<std::pair<std::string, Tensor>> views(const Tensor& flat, const std::string& suffix) const;

 private:
  static Tensor at_zeros_like(const Tensor& t);
  void lay_out();
  void install();
  std::vector<ParameterSlot> slots_;
  std::vector<nn::Parameter*> frozen_;  // dense weights that are not trained, in the model's precision
  std::vector<ParameterSpan> spans_;
  Tensor values_, gradients_, copies_;  // copies_: bf16, empty in fp32
  Precision precision_;
};

Role parse_role(const std::string& name);  // "norm", "bias", "embedding", "head", "matrix"

}  // namespace caravan::train
