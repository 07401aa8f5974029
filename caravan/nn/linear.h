// y = x W^T + b, whatever the weight is: dense (f32, bf16, f16) or block-quantized in its own bytes.
#pragma once

#include <algorithm>
#include <array>

#include "caravan/nn/module.h"
#include "caravan/ops/linear.h"
#include "caravan/ops/panel_linear.h"

namespace caravan::nn {

inline ops::Weight view(const Parameter& p) {
  return {.value = p.value, .dtype = p.dtype, .rows = p.shape[0], .columns = p.shape[1], .packed = p.packed};
}

class Linear final : public Layer<Linear> {
 public:
  Linear(int64_t in_features, int64_t out_features, bool bias = false);
  Tensor forward(const Tensor& x);  // [..., in] -> [..., out]
  void reset_parameters(const InitOptions& options) override;
  std::string_view kind() const override { return "Linear"; }

  // Keeps a second copy of an fp32 weight, laid out for inference on the CPU (ops/panel_linear.h); a weight that has
  // changed since is not taken from it. (`weight.packed` is another thing: a stored form that takes the values' place.)
  void make_panels();
  bool has_panels() const { return panels_.defined(); }

  Parameter weight;  // [out, in]
  Parameter bias;    // [out]; shape empty where there is none

 private:
  bool panels_are_current() const;
  ops::Panels panels_;
  Tensor panels_of_;  // the weight that they were made of, and its version
  int64_t panels_version_ = 0;
};

class LinearInputs;             // linear_inputs.h: who wants to see what goes into the layers
LinearInputs* linear_inputs();  // of this thread, usually none

// Several layers on the same input, in one pass where it is short (ops::linears).
template <size_t N>
std::array<Tensor, N> project(const Tensor& x, const std::array<Linear*, N>& layers);

// Panels for every Linear below a module: for models that will answer many calls and not be trained any more.
void make_panels(Module& module);

class Embedding final : public Layer<Embedding> {
 public:
  // The row of `padding_index` (-1: none) starts as zeros and receives no gradient.
  Embedding(int64_t rows, int64_t width, int64_t padding_index = -1);
  Tensor forward(const Tensor& ids);  // int64 [...] -> [..., width]
  void reset_parameters(const InitOptions& options) override;
  std::string_view kind() const override { return "Embedding"; }

  Parameter weight;  // [rows, width]

 private:
  int64_t padding_index_;
};

template <size_t N>
std::array<Tensor, N> project(const Tensor& x, const std::array<Linear*, N>& layers) {
  std::array<Tensor, N> outputs;
  const bool apart = std::any_of(layers.begin(), layers.end(), [](const Linear* layer) { return layer->has_panels(); });
  if (apart || observer() != nullptr || linear_inputs() != nullptr) {  // who see layer after layer
    for (size_t i = 0; i < N; ++i) outputs[i] = (*layers[i])(x);
    return outputs;
  }
  const auto each = [&]<size_t... I>(std::index_sequence<I...>) {
    return ops::linears(x, std::array{view(layers[I]->weight)...}, std::array{layers[I]->bias.value...});
  };
  auto results = each(std::make_index_sequence<N>());
  for (size_t i = 0; i < N; ++i) outputs[i] = std::move(results[i]);
  return outputs;
}

}  // namespace caravan::nn
