#include "caravan/train/parameters.h"

#include <torch/torch.h>

#include <algorithm>
#include <array>

#include "caravan/base/error.h"

namespace caravan::train {
namespace {

// Every tensor starts on a cache line in fp32 and in bf16: kernels take the same path, and give the same bits, whatever
// stands before it.
constexpr int64_t kAlignment = 64;

constexpr std::array<std::pair<std::string_view, Role>, 5> kRoles = {{{"matrix", Role::matrix},
                                                                      {"embedding", Role::embedding},
                                                                      {"head", Role::head},
                                                                      {"norm", Role::norm},
                                                                      {"bias", Role::bias}}};

Role role_of(const nn::NamedParameter& p) {
  if (p.name.ends_with(".bias")) return Role::bias;
  if (p.parameter->shape.size() < 2) return Role::norm;
  if (p.owner->kind() == "Embedding") return Role::embedding;
  // A matrix directly below the root is a task head: lm_head, score, qa_outputs.
  return p.owner->path().find('.') == std::string::npos ? Role::head : Role::matrix;
}

// Runs when autograd has put a weight's gradient together: moves it into the flat fp32 buffer and frees it.
class CollectGradient final : public torch::autograd::PostAccumulateGradHook {
 public:
  CollectGradient(ParameterStore& store, size_t index) : store_(store), slot_(store.slots()[index]), index_(index) {}
  void operator()(const torch::autograd::Variable& weight) override {
    Tensor& arrived = weight.mutable_grad();
    if (!arrived.defined()) return;
    const torch::NoGradGuard no_grad;
    if (slot_.fresh) {
      slot_.gradient.copy_(arrived);
    } else {
      slot_.gradient.add_(arrived);
    }
    slot_.fresh = false;
    arrived = Tensor();
    if (store_.on_arrival) store_.on_arrival(index_);
  }

 private:
  ParameterStore& store_;
  ParameterSlot& slot_;
  size_t index_;
};

}  // namespace

Role parse_role(const std::string& name) {
  std::string known;
  for (const auto& [text, role] : kRoles) {
    if (text == name) return role;
    known += (known.empty() ? "" : ", ") + std::string(text);
  }
  fail(ErrorCode::invalid_argument, "'{}' is no kind of weight; known are {}", name, known);
}

ParameterStore::ParameterStore(nn::Module& model, const StoreOptions& options)
    : shards_(options.shards), precision_(options.precision) {
  for (const nn::NamedParameter& p : model.named_parameters()) {
    const bool dense = p.parameter->defined() && !is_block_quantized(p.parameter->dtype);
    const bool trains = dense && (!options.trains || options.trains(p.name));
    if (dense) p.parameter->value = p.parameter->value.detach();
    if (dense && !trains) frozen_.push_back(p.parameter);
    if (!trains) continue;
    const Role role = role_of(p);
    const bool decays = std::find(options.no_decay.begin(), options.no_decay.end(), role) == options.no_decay.end();
    slots_.push_back({.name = p.name, .role = role, .decays = decays, .parameter = p.parameter});
  }
  check(!slots_.empty(), ErrorCode::invalid_argument, "the model has no weights to train");
  lay_out(options.shard);
  install();
}

void ParameterStore::lay_out(int64_t mine) {
  std::vector<size_t> order(slots_.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  const auto key = [&](size_t i) { return std::pair(slots_[i].role != Role::matrix, !slots_[i].decays); };
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return key(a) < key(b); });
  int64_t offset = 0;
  for (const size_t i : order) {
    ParameterSlot& slot = slots_[i];
    slot.offset = offset;
    slot.size = slot.parameter->value.numel();
    offset += (slot.size + kAlignment - 1) / kAlignment * kAlignment;
  }
  deal_shards(order, offset, mine);
  const at::Device device = slots_[0].parameter->value.device();
  values_ = at::zeros({offset}, at::TensorOptions().dtype(at::kFloat).device(device));
  gradients_ = at::zeros_like(values_);
}

// Neighbours go to one shard until it has its part of all elements; a tensor belongs to the shard of its middle.
void ParameterStore::deal_shards(const std::vector<size_t>& order, int64_t elements, int64_t mine) {
  shard_ends_.assign(static_cast<size_t>(shards_), 0);
  for (const size_t i : order) {
    ParameterSlot& slot = slots_[i];
    slot.shard = std::min(shards_ - 1, (slot.offset + slot.size / 2) * shards_ / elements);
    const int64_t end = slot.offset + (slot.size + kAlignment - 1) / kAlignment * kAlignment;
    std::fill(shard_ends_.begin() + slot.shard, shard_ends_.end(), end);
    if (slot.shard != mine) continue;
    own_slots_.push_back(&slot);
    const bool matrix = slot.role == Role::matrix;
    if (own_spans_.empty() || own_spans_.back().decays != slot.decays || own_spans_.back().matrix != matrix)
      own_spans_.push_back({.begin = slot.offset, .end = slot.offset, .decays = slot.decays, .matrix = matrix});
    own_spans_.back().end = end;
  }
  // In the model's order, in which optimizers remember them.
  std::sort(own_slots_.begin(), own_slots_.end());
}

ParameterSpan ParameterStore::shard_span(int64_t shard) const {
  const auto i = static_cast<size_t>(shard);
  return {.begin = i == 0 ? 0 : shard_ends_[i - 1], .end = shard_ends_[i]};
}

void ParameterStore::take_values() { install(); }

void ParameterStore::install() {
  const torch::NoGradGuard no_grad;
  if (precision_ == Precision::bf16 && !copies_.defined())
    copies_ = at::zeros_like(values_, values_.options().dtype(at::kBFloat16));
  for (nn::Parameter* parameter : frozen_) {
    if (!parameter->value.is_floating_point()) continue;
    parameter->value = parameter->value.detach().to(precision_ == Precision::bf16 ? at::kBFloat16 : at::kFloat);
    parameter->dtype = precision_ == Precision::bf16 ? DType::bf16 : DType::f32;
  }
  for (size_t i = 0; i < slots_.size(); ++i) {
    ParameterSlot& slot = slots_[i];
    const auto view = [&](const Tensor& flat) {
      return flat.slice(0, slot.offset, slot.offset + slot.size).view(slot.parameter->shape);
    };
    slot.value = view(values_);
    slot.gradient = view(gradients_);
    slot.value.copy_(slot.parameter->value);
    Tensor weight = precision_ == Precision::bf16 ? view(copies_) : view(values_);
    weight = weight.detach().requires_grad_();
    torch::autograd::impl::set_post_acc_grad_hooks(weight, std::make_unique<CollectGradient>(*this, i));
    slot.parameter->value = weight;
    slot.parameter->dtype = precision_ == Precision::bf16 ? DType::bf16 : DType::f32;
  }
  publish();
}

ParameterStore::~ParameterStore() {
  for (ParameterSlot& slot : slots_) {
    slot.parameter->value = slot.parameter->value.detach();  // without the hook, which points into this store
  }
}

int64_t ParameterStore::parameter_count() const {
  int64_t count = 0;
  for (const ParameterSlot& slot : slots_) count += slot.size;
  return count;
}

void ParameterStore::begin_window() {
  for (ParameterSlot& slot : slots_) {
    slot.fresh = true;
    // What a sum over processes left behind a tensor that another one owns must not enter the next sum.
    const int64_t end = slot.offset + slot.size, next = (end + kAlignment - 1) / kAlignment * kAlignment;
    if (shards_ > 1 && next > end) gradients_.slice(0, end, next).zero_();
  }
}

void ParameterStore::end_window() {
  for (ParameterSlot& slot : slots_) {
    if (slot.fresh) slot.gradient.zero_();
  }
}

Tensor ParameterStore::gradient_norms() const {
  std::vector<Tensor> gradients;
  for (const ParameterSlot* slot : own_slots_) gradients.push_back(slot->gradient);
  if (shards_ == 1) return at::stack(at::_foreach_norm(gradients, 2.0));
  Tensor norms = at::zeros({static_cast<int64_t>(slots_.size())}, values_.options());
  const std::vector<Tensor> own = gradients.empty() ? std::vector<Tensor>{} : at::_foreach_norm(gradients, 2.0);
  for (size_t i = 0; i < own.size(); ++i) norms[own_slots_[i] - slots_.data()].copy_(own[i]);
  return norms;
}

double ParameterStore::total_norm(const Tensor& norms) { return norms.norm().item<double>(); }

void ParameterStore::scale_gradients(double factor) { gradients_.mul_(factor); }

void ParameterStore::publish() {
  if (copies_.defined()) copies_.copy_(values_);
}

std::vector<std::pair<std::string, Tensor>> ParameterStore::views(const Tensor& flat, const std::string& suffix) const {
  std::vector<std::pair<std::string, Tensor>> named;
  for (const ParameterSlot& slot : slots_) {
    named.emplace_back(slot.name + "." + suffix,
                       flat.slice(0, slot.offset, slot.offset + slot.size).view(slot.parameter->shape));
  }
  return named;
}

}  // namespace caravan::train
