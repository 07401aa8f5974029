// Module: the base of every layer and model, made for value members.
//
//   struct Mlp final : nn::Layer<Mlp> {
//     nn::Linear up, down;
//     Mlp(int64_t c, int64_t f) : up(c, f), down(f, c) { add("up", up); add("down", down); }
//     Tensor forward(const Tensor& x) { return down(at::silu(up(x))); }
//   };
//   Mlp mlp(64, 256);  initialize(mlp, {.std = 0.02});  Tensor y = mlp(x);
//
// Member name = registered name = checkpoint key, so loading and saving are walks over named_parameters(). A parameter
// knows its shape from construction and has no storage until a checkpoint or initialize() gives it some. Calling a
// layer (operator()) runs its forward() under the observers of nn/observe.h.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "caravan/base/dtype.h"

namespace caravan::nn {

using at::Tensor;

// A named weight. `value` is dense with this shape, or the rows' blocks as a u8 tensor where `dtype` is
// block-quantized.
struct Parameter {
  std::vector<int64_t> shape;
  Tensor value;              // undefined until loaded or initialized
  Tensor packed;             // of a matrix that runs from its stored form: ops::pack(), or a half-precision `value`
  DType dtype = DType::f32;  // of the stored value
  bool defined() const { return value.defined(); }
  operator const Tensor&() const { return value; }  // NOLINT: a dense parameter is used as the tensor it is
};

class Module;

struct NamedParameter {
  std::string name;  // "model.layers.0.self_attn.q_proj.weight"
  Parameter* parameter;
  Module* owner;
};

struct InitOptions {
  double std = 0.02;  // initializer_range of the config
  uint64_t seed = 0;
  at::ScalarType dtype = at::kFloat;
  at::Generator generator = {};  // made from the seed by initialize()
};

class Module {
 public:
  Module() = default;
  virtual ~Module() = default;
  Module(const Module&) = delete;  // children and parents know each other's addresses
  Module& operator=(const Module&) = delete;

  std::vector<NamedParameter> named_parameters();  // depth first, in the order of registration; a tied one once
  std::vector<Tensor> parameters();                // the defined dense ones, for optimizers
  const std::vector<std::pair<std::string, Module*>>& children() const { return children_; }
  std::string path() const;  // "model.layers.0.mlp"; empty for the root
  virtual std::string_view kind() const { return "Module"; }

  void train(bool on = true);  // dropout and gradient checkpointing act in training only
  bool training() const { return training_; }
  void requires_grad(bool on = true);
  void to(at::ScalarType dtype);  // floating-point dense parameters
  void to(at::Device device);

  // Gives this module's own parameters their initial values (weights normal(0, std), biases zero, norms one).
  virtual void reset_parameters(const InitOptions& options);

 protected:
  void add(std::string name, Module& child);  // an empty name: the child's names stand without a prefix
  void add(std::string name, Parameter& parameter);

 private:
  friend void reset_all(Module& module, const InitOptions& options);
  void collect(const std::string& prefix, std::vector<NamedParameter>& out);
  std::string name_;
  Module* parent_ = nullptr;
  bool training_ = false;
  std::vector<std::pair<std::string, Module*>> children_;
  std::vector<std::pair<std::string, Parameter*>> parameters_;
};

// Fresh weights for a whole model; equal seeds give equal bits. Parameters already defined are overwritten.
void initialize(Module& module, const InitOptions& options);

// --- observing calls ---------------------------------------------------------------------------------------------
// Sees every call of every layer while installed (nn/observe.h has a profiler and a check for non-finite values).
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void enter(const Module& module) = 0;
  virtual void leave(const Module& module, const Tensor& output) = 0;
};

Observer* observer();                    // of this thread, usually none
Observer* set_observer(Observer* next);  // returns the previous one

// Gives a layer its call operator. Self has `Tensor forward(...)`.
template <class Self>
class Layer : public Module {
 public:
  template <class... Args>
  Tensor operator()(Args&&... args) {
    Observer* watching = observer();
    if (watching == nullptr) [[likely]]
      return static_cast<Self*>(this)->forward(std::forward<Args>(args)...);
    watching->enter(*this);
    Tensor output = static_cast<Self*>(this)->forward(std::forward<Args>(args)...);
    watching->leave(*this, output);
    return output;
  }
};

// Layers "0", "1", ... that are built in place.
template <class T>
class ModuleList final : public Module {
 public:
  template <class... Args>
  T& emplace_back(Args&&... args) {
    items_.push_back(std::make_unique<T>(std::forward<Args>(args)...));
    add(std::to_string(items_.size() - 1), *items_.back());
    return *items_.back();
  }
  size_t size() const { return items_.size(); }
  T& operator[](size_t i) { return *items_[i]; }
  auto begin() { return items_.begin(); }  // of unique_ptr<T>
  auto end() { return items_.end(); }

 private:
  std::vector<std::unique_ptr<T>> items_;
};

}  // namespace caravan::nn
