#include "caravan/quant/awq.h"

#include <torch/torch.h>

#include <algorithm>
#include <map>

#include "caravan/base/checked.h"
#include "caravan/base/error.h"
#include "caravan/formats/cast.h"
#include "caravan/ops/dequantize.h"
#include "caravan/ops/quantize.h"

namespace caravan::quant {
namespace {

using at::Tensor;
using formats::TensorInfo;

// Factors of rows and columns of the tensors that change; an undefined one is 1.
struct Factors {
  Tensor rows, columns;
};
using FactorMap = std::map<std::string, Factors>;

Tensor read_dense(const formats::Checkpoint& from, const TensorInfo& t) {
  const formats::TensorBytes bytes = from.read(t.name);
  Tensor values = at::empty(t.shape, at::kFloat);
  if (is_block_quantized(t.dtype)) {
    ops::dequantize(t.dtype, bytes.bytes.data(), values.mutable_data_ptr<float>(), values.numel());
  } else {
    formats::cast_elements(t.dtype, bytes.bytes, DType::f32,
                           std::as_writable_bytes(std::span(values.mutable_data_ptr<float>(), values.numel())));
  }
  return values;
}

class Rescaled final : public formats::Checkpoint {
 public:
  Rescaled(const formats::Checkpoint& from, FactorMap factors)
      : Checkpoint(from.path()), from_(from), factors_(std::move(factors)), tensors_(from.tensors()) {
    for (TensorInfo& t : tensors_) {
      if (factors_.contains(t.name)) t.dtype = DType::f32;
    }
  }
  std::string_view format() const override { return from_.format(); }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const Json& config() const override { return from_.config(); }
  void check() const override { from_.check(); }
  std::string side_file(std::string_view name) const override { return from_.side_file(name); }

  formats::TensorBytes read(std::string_view name) const override {
    const auto it = factors_.find(std::string(name));
    if (it == factors_.end()) return from_.read(name);
    Tensor values = read_dense(from_, *from_.find(name));
    if (it->second.columns.defined()) values.mul_(it->second.columns);
    if (it->second.rows.defined()) values.mul_(values.dim() == 2 ? it->second.rows.unsqueeze(1) : it->second.rows);
    const auto owner = std::make_shared<const Tensor>(values.contiguous());
    return {{static_cast<const std::byte*>(owner->const_data_ptr()), owner->nbytes()}, owner};
  }

 private:
  const formats::Checkpoint& from_;
  FactorMap factors_;
  std::vector<TensorInfo> tensors_;
};

// Where a factor can move: from the columns of `readers` to what makes their input.
struct Site {
  std::string maker;
  std::vector<std::string> readers;
  bool own_values_only = false;  // not where several query heads share a value head
};

std::vector<Site> sites_of(int64_t index) {
  const std::string layer = fmt::format("model.layers.{}.", index), a = layer + "self_attn.", m = layer + "mlp.";
  return {{layer + "input_layernorm", {a + "q_proj", a + "k_proj", a + "v_proj"}},
          {a + "v_proj", {a + "o_proj"}, true},
          {layer + "post_attention_layernorm", {m + "gate_proj", m + "up_proj"}},
          {m + "up_proj", {m + "down_proj"}}};
}

class Search {
 public:
  Search(const formats::Checkpoint& from, GramSource& grams, const AwqOptions& options)
      : from_(from), grams_(grams), options_(options) {}

  // The factors of the columns that readers share; undefined where nothing is to be gained or nothing can move them.
  Tensor best(const Site& site, bool movable) {
    const InputStatistics* seen = grams_.find(site.readers[0]);
    if (seen == nullptr || !seen->gram.defined()) return {};
    const Tensor gram = seen->gram / static_cast<double>(seen->rows);
    const Tensor factors = movable ? search(site, gram) : Tensor();
    if (options_.importances == nullptr) return factors;
    const std::vector<float> importance = scaled_importance(gram, factors);
    for (const std::string& reader : site.readers) {
      if (!importance.empty()) (*options_.importances)[reader] = importance;
    }
    return factors;
  }

 private:
  Tensor search(const Site& site, const Tensor& gram) const {
    const Tensor size = gram.diagonal().clamp_min(1e-12).sqrt();
    std::vector<std::pair<Tensor, DType>> weights;
    for (const std::string& reader : site.readers) {
      const TensorInfo& t = *from_.find(reader + ".weight");
      const DType dtype = options_.choose(t);
      if (is_block_quantized(dtype)) weights.emplace_back(sampled(read_dense(from_, t)), dtype);
    }
    if (weights.empty()) return {};
    Tensor found;
    double least = 0;
    for (int step = 0; step < options_.steps; ++step) {
      const Tensor powers = size.pow(static_cast<double>(step) / options_.steps);
      const Tensor factors = powers / (powers.max() * powers.min()).sqrt();
      const double error = loss(weights, gram, factors);
      if (step == 0 || error < least) least = error, found = step == 0 ? Tensor() : factors;
    }
    return found;
  }

  // What an error in a column of W s costs: its input is x / s.
  static std::vector<float> scaled_importance(const Tensor& gram, const Tensor& factors) {
    Tensor squares = gram.diagonal();
    if (factors.defined()) squares = squares / factors.square();
    squares = squares.contiguous();
    const auto* values = squares.const_data_ptr<float>();
    return above_zero({values, values + squares.numel()});
  }

  Tensor sampled(const Tensor& weight) const {
    const int64_t rows = weight.size(0);
    if (rows <= options_.sampled_rows) return weight;
    const Tensor picked = at::floor_divide(at::arange(options_.sampled_rows, at::kLong) * rows, options_.sampled_rows);
    return weight.index_select(0, picked).contiguous();
  }

  // sum over readers of |(Q(W s) / s - W) x|^2
  static double loss(const std::vector<std::pair<Tensor, DType>>& weights, const Tensor& gram, const Tensor& factors) {
    double sum = 0;
    const std::vector<float> importance = scaled_importance(gram, factors);
    for (const auto& [weight, dtype] : weights) {
      const Tensor scaled = (weight * factors).contiguous();
      const int64_t rows = scaled.size(0), columns = scaled.size(1);
      const auto n = static_cast<size_t>(scaled.numel());
      std::vector<std::byte> blocks(static_cast<size_t>(tensor_bytes(dtype, scaled.sizes(), "awq")));
      ops::quantize_rows({dtype, rows, columns}, {scaled.const_data_ptr<float>(), n}, importance, blocks.data());
      Tensor rounded = at::empty_like(scaled);
      ops::dequantize(dtype, blocks.data(), rounded.mutable_data_ptr<float>(), scaled.numel());
      const Tensor error = rounded / factors - weight;
      sum += (at::mm(error, gram) * error).sum().item<double>();
    }
    return sum;
  }

  const formats::Checkpoint& from_;
  GramSource& grams_;
  const AwqOptions& options_;
};

void multiply(Tensor& factors, const Tensor& by) { factors = factors.defined() ? factors * by : by; }

bool is_there(const formats::Checkpoint& from, const Site& site) {
  const auto has = [&](const std::string& name) { return from.find(name + ".weight") != nullptr; };
  return has(site.maker) && std::all_of(site.readers.begin(), site.readers.end(), has);
}

}  // namespace

std::unique_ptr<formats::Checkpoint> awq(const formats::Checkpoint& from, GramSource& grams,
                                         const AwqOptions& options) {
  const torch::InferenceMode guard;
  const auto number = [&](std::string_view key, int64_t fallback) {
    return get_int(from.config(), key, "config.json", {.min = 1, .max = 1 << 20}, fallback);
  };
  const int64_t layers = number("num_hidden_layers", 1), heads = number("num_attention_heads", 1);
  const bool own_values = number("num_key_value_heads", heads) == heads;
  std::vector<std::string> order;
  for (int64_t i = 0; i < layers; ++i) {
    for (const Site& site : sites_of(i)) order.push_back(site.readers[0]);
  }
  grams.expect(std::move(order));
  FactorMap factors;
  Search search(from, grams, options);
  for (int64_t i = 0; i < layers; ++i) {
    if (options.progress) options.progress(i);
    for (const Site& site : sites_of(i)) {
      if (!is_there(from, site)) continue;
      const Tensor found = search.best(site, own_values || !site.own_values_only);
      if (!found.defined()) continue;
      for (const std::string& reader : site.readers) multiply(factors[reader + ".weight"].columns, found);
      const Tensor inverse = found.reciprocal();
      multiply(factors[site.maker + ".weight"].rows, inverse);
      if (from.find(site.maker + ".bias") != nullptr) multiply(factors[site.maker + ".bias"].rows, inverse);
    }
  }
  check(!factors.empty(), ErrorCode::unsupported,
        "awq: no layer of {} has the names that factors move between (input_layernorm, q_proj ... down_proj)",
        from.path());
  return std::make_unique<Rescaled>(from, std::move(factors));
}

}  // namespace caravan::quant
