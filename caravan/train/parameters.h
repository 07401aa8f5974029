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
  int64_t shard = 0;             // whose optimizer updates it
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
  int64_t shard = 0, shards = 1;  // of several processes' optimizers each updates one shard of the weights
};

class ParameterStore {
 public:
  ParameterStore(nn::Module& model, const StoreOptions& options);
  ~ParameterStore();  // takes its hooks off the model's weights, which stay usable
  ParameterStore(const ParameterStore&) = delete;

  std::vector<ParameterSlot>& slots() { return slots_; }
  const std::vector<ParameterSlot>& slots() const { return slots_; }
  // What this process's optimizer updates: with one shard everything. Shards are neighbouring weights, whole tensors.
  const std::vector<ParameterSlot*>& own_slots() const { return own_slots_; }
  const std::vector<ParameterSpan>& own_spans() const { return own_spans_; }
  int64_t shards() const { return shards_; }
  ParameterSpan shard_span(int64_t shard) const;  // begin and end, without gaps between shards

  const Tensor& values() const { return values_; }        // [elements] fp32
  const Tensor& gradients() const { return gradients_; }  // [elements] fp32
  Precision precision() const { return precision_; }
  int64_t parameter_count() const;

  void begin_window();                            // before the first backward pass of an optimizer step
  void end_window();                              // after the last one: weights that got no gradient have a zero one
  Tensor gradient_norms() const;                  // [slots], those of other shards' weights are 0
  static double total_norm(const Tensor& norms);  // over all weights, as torch.nn.utils.clip_grad_norm_ counts it
  void scale_gradients(double factor);
  void take_values();  // after values were loaded into the model: the model computes with the store again
  void publish();      // copies the values into the model's bf16 weights

  std::function<void(size_t slot)> on_arrival = {};  // after a gradient was added to the slot's

  // The views of a flat buffer laid out like values(), by weight: "NAME.suffix".
  std::vector<std::pair<std::string, Tensor>> views(const Tensor& flat, const std::string& suffix) const;

 private:
  void lay_out(int64_t mine);
  void deal_shards(const std::vector<size_t>& order, int64_t elements, int64_t mine);
  void install();
  std::vector<ParameterSlot> slots_;
  std::vector<nn::Parameter*> frozen_;  // dense weights that are not trained, in the model's precision
  std::vector<ParameterSlot*> own_slots_;
  std::vector<ParameterSpan> own_spans_;
  std::vector<int64_t> shard_ends_;  // [shards]
  int64_t shards_ = 1;
  Tensor values_, gradients_, copies_;  // copies_: bf16, empty in fp32
  Precision precision_;
};

Role parse_role(const std::string& name);  // "norm", "bias", "embedding", "head", "matrix"

}  // namespace caravan::train
