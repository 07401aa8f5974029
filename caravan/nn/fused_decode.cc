#include "caravan/nn/fused_decode.h"

#include <torch/torch.h>

#include <ATen/Parallel.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "caravan/nn/decoder_layer.h"
#include "caravan/ops/attention.h"
#include "caravan/ops/row_product.h"
#include "caravan/ops/threads.h"

namespace caravan::nn {
namespace {

using kernels::Ahead;
using ops::InputForms;
using ops::RowInputs;
using ops::RowProduct;
using ops::SharedTasks;
using ops::Team;

bool is_plain_float(const Tensor& t) {
  return t.defined() && t.scalar_type() == at::kFloat && t.device().is_cpu() && t.is_contiguous();
}

// Grows only: a token's layers take turns in it.
template <class T>
T* room(std::vector<T>& buffer, int64_t n) {
  if (std::ssize(buffer) < n) buffer.resize(static_cast<size_t>(n));
  return buffer.data();
}

// A Linear with its raw parts; `rows` is false where it has none that stream.
struct Product {
  explicit Product(const Linear& layer) : rows(view(layer.weight)) {
    const Tensor& b = layer.bias.value;
    usable = bool(rows) && !layer.has_panels() && (!b.defined() || is_plain_float(b));
    if (b.defined() && usable) bias = b.const_data_ptr<float>();
  }

  // Tasks [first, last) with the bias, y [m, stride].
  void run(const RowInputs& inputs, float* y, int64_t stride, int64_t first, int64_t last) const {
    rows.run(inputs, y, stride, first, last);
    if (bias == nullptr) return;
    for (int64_t i = 0; i < inputs.m; ++i) {
      for (int64_t r = begin(first); r < end(last); ++r) y[i * stride + r] += bias[r];
    }
  }
  static int64_t begin(int64_t task) { return task * RowProduct::kTaskRows; }
  int64_t end(int64_t task) const { return std::min(rows.rows(), task * RowProduct::kTaskRows); }

  RowProduct rows;
  const float* bias = nullptr;
  bool usable = false;
};

struct Norm {
  explicit Norm(const RmsNorm& norm)
      : eps(static_cast<float>(norm.eps())),
        weight(is_plain_float(norm.weight) ? norm.weight.value.const_data_ptr<float>() : nullptr) {}
  void apply(const float* x, float* y, int64_t rows, int64_t width) const {
    kernels::table().rms_norm_f32(x, weight, y, rows, width, eps);
  }
  float eps;
  const float* weight;
};

// A run of tasks of one of the three input projections. Heads of keys and values come whole, since whoever computes one
// also stores it.
struct InputTask {
  enum class Part : uint8_t { query, key, value } part;
  int64_t first, last;
};

// Query heads [first, last) of the group that reads key-value head `head` of sequence `b`.
struct HeadTask {
  int64_t b, head, first, last;
};

// One layer with its raw parts.
struct LayerPlan {
  explicit LayerPlan(DecoderLayer& layer, const KvCache& cache)
      : config(&layer.self_attn.config()),
        q(layer.self_attn.q_proj),
        k(layer.self_attn.k_proj),
        v(layer.self_attn.v_proj),
        o(layer.self_attn.o_proj),
        gate(layer.mlp.gate_proj),
        up(layer.mlp.up_proj),
        down(layer.mlp.down_proj),
        before(layer.input_layernorm),
        between(layer.post_attention_layernorm),
        usable(!layer.training() && layer.mlp.activation() == ops::Activation::silu) {
    const Attention& attention = layer.self_attn;
    if (attention.q_norm) q_norm.emplace(*attention.q_norm);
    if (attention.k_norm) k_norm.emplace(*attention.k_norm);
    for (const Product* product : {&q, &k, &v, &o, &gate, &up, &down}) usable = usable && product->usable;
    for (const Norm* norm : {&before, &between}) usable = usable && norm->weight != nullptr;
    usable = usable && (!q_norm || q_norm->weight != nullptr) && (!k_norm || k_norm->weight != nullptr);
    if (!usable) return;
    keys = static_cast<std::byte*>(cache.key_pages(attention.layer()).mutable_data_ptr());
    values = static_cast<std::byte*>(cache.value_pages(attention.layer()).mutable_data_ptr());
  }
  bool same_shape(const LayerPlan& other) const {
    return config->num_heads == other.config->num_heads && config->num_kv_heads == other.config->num_kv_heads &&
           config->head_dim == other.config->head_dim && gate.rows.rows() == other.gate.rows.rows();
  }

  const AttentionConfig* config;
  Product q, k, v, o, gate, up, down;
  Norm before, between;
  std::optional<Norm> q_norm, k_norm;
  std::byte *keys = nullptr, *values = nullptr;  // [pages, K, P] rows of the cache
  bool usable;
};

// What a thread has for itself.
struct Scratch {
  std::vector<float> normed, scores, head;
  ops::RowInputBuffer inputs;
  std::vector<const void*> key_table, value_table;
};

// The shared part of one step through all layers.
class FusedDecode {
 public:
  FusedDecode(std::vector<LayerPlan>& layers, const Tensor& x, Step& step, float* out, int threads)
      : layers_(layers),
        step_(step),
        m_(x.size(0)),
        width_(x.size(1)),
        rotary_(step.cos.size(1)),
        cos_(step.cos.const_data_ptr<float>()),
        sin_(step.sin.const_data_ptr<float>()),
        x_(x.const_data_ptr<float>()),
        out_(out) {
    const LayerPlan& layer = layers[0];
    const AttentionConfig& config = *layer.config;
    d_ = config.head_dim, kv_heads_ = config.num_kv_heads, group_ = config.num_heads / config.num_kv_heads;
    page_ = step.cache->shape().page_tokens;
    cache_dtype_ = step.cache->dtype();
    row_bytes_ = step.cache->row_bytes();
    attend_pages_ = ops::paged_kernel(at::kFloat, cache_dtype_);
    attended_width_ = config.num_heads * d_;
    hidden_width_ = layer.gate.rows.rows();
    stride_ = attended_width_ + 2 * kv_heads_ * d_;
    thread_local std::vector<float> buffer;
    qkv_ = room(buffer, m_ * (stride_ + attended_width_ + 3 * hidden_width_ + width_));
    attended_ = qkv_ + m_ * stride_;
    hidden_ = attended_ + m_ * attended_width_;
    upper_ = hidden_ + m_ * hidden_width_;
    activated_ = upper_ + m_ * hidden_width_;
    added_ = activated_ + m_ * hidden_width_;
    list_inputs(layer);
    list_heads(threads);
    thread_local std::vector<SharedTasks> tasks;  // kept: their counters are
    if (tasks.size() < kStages * layers.size()) tasks.resize(kStages * layers.size());
    tasks_ = tasks.data();
    for (size_t i = 0; i < layers.size(); ++i) {
      tasks_at(i, kInputs).prepare(std::ssize(input_tasks_), threads);
      tasks_at(i, kHeads).prepare(std::ssize(head_tasks_), threads);
      tasks_at(i, kOutputs).prepare(layers[i].o.rows.tasks(), threads);
      tasks_at(i, kGates).prepare(layers[i].gate.rows.tasks(), threads);
      tasks_at(i, kDowns).prepare(layers[i].down.rows.tasks(), threads);
    }
  }

  void run(Team& team) {
    thread_local Scratch scratch;
    for (size_t i = 0; i < layers_.size(); ++i) {
      const LayerPlan& l = layers_[i];
      const int thread = team.index;
      const float* residual = i == 0 ? x_ : out_;
      project_inputs(i, residual, team, scratch);
      Ahead ahead = first_bytes(l.o, tasks_at(i, kOutputs), thread, kWholePart);
      team.barrier();
      tasks_at(i, kHeads).take(team, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) attend(l, head_tasks_[static_cast<size_t>(t)], ahead, scratch);
      });
      team.barrier(ahead);
      add_product(l.o, tasks_at(i, kOutputs), team, {attended_, attended_width_}, residual, scratch);
      team.barrier(first_bytes(l.gate, tasks_at(i, kGates), thread));
      gate_inputs(i, team, scratch);
      team.barrier(first_bytes(l.down, tasks_at(i, kDowns), thread));
      add_product(l.down, tasks_at(i, kDowns), team, {activated_, hidden_width_}, out_, scratch);
      if (i + 1 < layers_.size()) team.barrier(first_input_bytes(i + 1, thread));
    }
  }

 private:
  enum Stage : size_t { kInputs, kHeads, kOutputs, kGates, kDowns, kStages };
  SharedTasks& tasks_at(size_t layer, Stage stage) { return tasks_[layer * kStages + stage]; }

  // For each key-value head its keys, its values, and its share of the query rows: halves of the list weigh the same.
  void list_inputs(const LayerPlan& layer) {
    const int64_t count = layer.k.rows.tasks();
    const bool apart = d_ % RowProduct::kTaskRows == 0;  // else tasks straddle heads, and one thread takes them all
    const int64_t parts = apart ? kv_heads_ : 1, queries = layer.q.rows.tasks();
    for (int64_t p = 0; p < parts; ++p) {
      for (const auto part : {InputTask::Part::key, InputTask::Part::value}) {
        input_tasks_.push_back({part, count * p / parts, count * (p + 1) / parts});
      }
      for (int64_t t = queries * p / parts; t < queries * (p + 1) / parts; ++t) {
        input_tasks_.push_back({InputTask::Part::query, t, t + 1});
      }
    }
  }

  // Whole groups share the passes over keys and values; those that would leave threads idle are split. Each thread's
  // part of the list has as many of either.
  void list_heads(int threads) {
    const int64_t groups = m_ * kv_heads_, whole = groups / threads;  // a thread
    const int64_t parts = std::min<int64_t>(group_, threads);
    const auto add = [this](int64_t i, int64_t first, int64_t last) {
      head_tasks_.push_back({i / kv_heads_, i % kv_heads_, first, last});
    };
    for (int64_t t = 0; t < threads; ++t) {
      for (int64_t i = t * whole; i < (t + 1) * whole; ++i) add(i, 0, group_);
      for (int64_t i = threads * whole; i < groups && t < parts; ++i)
        add(i, group_ * t / parts, group_ * (t + 1) / parts);
    }
  }

  static constexpr int64_t kSomeBytes = 64 << 10, kWholePart = 512 << 10;

  // What a thread will read first of a stage's weights.
  static Ahead first_bytes(const Product& product, const SharedTasks& tasks, int thread, int64_t most = kSomeBytes) {
    return product.rows.bytes(tasks.first(thread), tasks.first(thread + 1), most);
  }
  Ahead first_input_bytes(size_t layer, int thread) {
    const InputTask& task = input_tasks_[static_cast<size_t>(tasks_at(layer, kInputs).first(thread))];
    return product_of(layers_[layer], task.part).rows.bytes(task.first, task.last, kSomeBytes);
  }

  static const Product& product_of(const LayerPlan& l, InputTask::Part part) {
    return part == InputTask::Part::query ? l.q : part == InputTask::Part::key ? l.k : l.v;
  }

  // Inputs of the next product; every thread makes them for itself, which is cheaper than waiting for one that does.
  RowInputs prepare(const float* x, int64_t columns, const InputForms& forms, Scratch& scratch) const {
    const RowInputs inputs = scratch.inputs.inputs(x, m_, columns, forms);
    ops::RowInputBuffer::fill(inputs, 0, m_);
    return inputs;
  }
  const float* normed(const float* x, const Norm& norm, Scratch& scratch) const {
    float* to = room(scratch.normed, m_ * width_);
    norm.apply(x, to, m_, width_);
    return to;
  }

  void project_inputs(size_t i, const float* x, const Team& team, Scratch& scratch) {
    const LayerPlan& l = layers_[i];
    const InputForms forms = l.q.rows.wants() | l.k.rows.wants() | l.v.rows.wants();
    const RowInputs inputs = prepare(normed(x, l.before, scratch), width_, forms, scratch);
    tasks_at(i, kInputs).take(team, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const InputTask& task = input_tasks_[static_cast<size_t>(t)];
        const Product& product = product_of(l, task.part);
        const bool query = task.part == InputTask::Part::query, key = task.part == InputTask::Part::key;
        const int64_t place = query ? 0 : attended_width_ + (key ? 0 : kv_heads_ * d_);
        product.run(inputs, qkv_ + place, stride_, task.first, task.last);
        if (query) continue;
        for (int64_t h = Product::begin(task.first) / d_; h < product.end(task.last) / d_; ++h) {
          for (int64_t b = 0; b < m_; ++b) store(l, b, h, qkv_ + b * stride_ + place + h * d_, key, scratch);
        }
      }
    });
  }

  // Puts a new key, rotated, or a new value into the newest cell of sequence b and head h.
  void store(const LayerPlan& l, int64_t b, int64_t h, float* head, bool key, Scratch& scratch) const {
    const CacheSequence& sequence = *step_.sequences[static_cast<size_t>(b)];
    const int64_t at = sequence.length() - 1, page = sequence.pages()[static_cast<size_t>(at / page_)];
    const int64_t cell = ((page * kv_heads_ + h) * page_ + at % page_) * row_bytes_;
    if (!key) return store_row(cache_dtype_, head, l.values + cell, d_);
    if (l.k_norm) l.k_norm->apply(head, head, 1, d_);
    float* rotated = room(scratch.head, d_);
    kernels::table().rotate_f32(head, cos_ + b * rotary_, sin_ + b * rotary_, rotated, 1, d_, rotary_);
    store_row(cache_dtype_, rotated, l.keys + cell, d_);
  }

  void attend(const LayerPlan& l, const HeadTask& task, Ahead& ahead, Scratch& scratch) const {
    const auto& kernels = kernels::table();
    const CacheSequence& sequence = *step_.sequences[static_cast<size_t>(task.b)];
    const int64_t n = task.last - task.first, from = (task.head * group_ + task.first) * d_;
    float* queries = qkv_ + task.b * stride_ + from;
    if (l.q_norm) l.q_norm->apply(queries, queries, n, d_);
    float* rotated = room(scratch.head, n * d_);
    kernels.rotate_f32(queries, cos_ + task.b * rotary_, sin_ + task.b * rotary_, rotated, n, d_, rotary_);

    scratch.key_table.clear();
    scratch.value_table.clear();
    for (const int32_t id : sequence.pages()) {
      const int64_t at = (id * kv_heads_ + task.head) * page_ * row_bytes_;
      scratch.key_table.push_back(l.keys + at);
      scratch.value_table.push_back(l.values + at);
    }
    const int64_t length = sequence.length(), window = l.config->sliding_window;
    const int64_t first = window > 0 ? std::max<int64_t>(0, length - window) : 0;
    attend_pages_({.queries = rotated,
                   .output = attended_ + task.b * attended_width_ + from,
                   .keys = scratch.key_table.data(),
                   .values = scratch.value_table.data(),
                   .group = n,
                   .width = d_,
                   .page_tokens = page_,
                   .first = first,
                   .last = length,
                   .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(d_))),
                   .scores = room(scratch.scores, (length - first) * n),
                   .ahead = &ahead});
  }

  struct Rows {
    const float* x;
    int64_t columns;
  };

  // out = residual + the product with `from`.
  void add_product(const Product& product, SharedTasks& tasks, const Team& team, const Rows& from,
                   const float* residual, Scratch& scratch) const {
    const RowInputs inputs = prepare(from.x, from.columns, product.rows.wants(), scratch);
    tasks.take(team, [&](int64_t first, int64_t last) {
      product.run(inputs, added_, width_, first, last);
      for (int64_t i = 0; i < m_; ++i) {
        for (int64_t r = Product::begin(first); r < product.end(last); ++r) {
          out_[i * width_ + r] = residual[i * width_ + r] + added_[i * width_ + r];
        }
      }
    });
  }

  void gate_inputs(size_t layer, const Team& team, Scratch& scratch) {
    const LayerPlan& l = layers_[layer];
    const InputForms forms = l.gate.rows.wants() | l.up.rows.wants();
    const RowInputs inputs = prepare(normed(out_, l.between, scratch), width_, forms, scratch);
    tasks_at(layer, kGates).take(team, [&](int64_t first, int64_t last) {
      l.gate.run(inputs, hidden_, hidden_width_, first, last);
      l.up.run(inputs, upper_, hidden_width_, first, last);
      const int64_t begin = Product::begin(first), count = l.gate.end(last) - begin;
      for (int64_t i = 0; i < m_; ++i) {
        const int64_t at = i * hidden_width_ + begin;
        kernels::table().swiglu_f32(hidden_ + at, upper_ + at, activated_ + at, count);
      }
    });
  }

  std::vector<LayerPlan>& layers_;
  Step& step_;
  int64_t m_, width_, rotary_;
  const float *cos_, *sin_;  // [m, R]
  const float* x_;           // [m, C]: of the first layer
  float* out_;               // [m, C]: the residual stream after it
  int64_t d_ = 0, kv_heads_ = 0, group_ = 0, attended_width_ = 0, hidden_width_ = 0, stride_ = 0;
  int64_t page_ = 0, row_bytes_ = 0;
  at::ScalarType cache_dtype_ = at::kFloat;
  ops::PagedKernel attend_pages_ = nullptr;
  float *qkv_, *attended_, *hidden_, *upper_, *activated_, *added_;
  std::vector<InputTask> input_tasks_;
  std::vector<HeadTask> head_tasks_;
  SharedTasks* tasks_ = nullptr;
};

bool fits(const Tensor& x, const Step& step) {
  constexpr int64_t kMost = 16;
  const int64_t m = step.tokens();
  return step.cache != nullptr && step.tree == nullptr && m == step.batch() && m <= kMost &&
         !at::GradMode::is_enabled() && step.capture == nullptr && !step.visible_keys.defined() &&
         observer() == nullptr && linear_inputs() == nullptr && is_plain_float(x) && is_plain_float(step.cos) &&
         is_plain_float(step.sin) && ops::paged_kernel(at::kFloat, step.cache->dtype()) != nullptr &&
         step.cache->device().is_cpu();
}

}  // namespace

Tensor decode_fused(ModuleList<DecoderLayer>& layers, const Tensor& x, Step& step) {
  if (!fits(x, step) || layers.size() == 0) return {};
  thread_local std::vector<LayerPlan> plans;
  plans.clear();
  for (const auto& layer : layers) {
    plans.emplace_back(*layer, *step.cache);
    if (!plans.back().usable || !plans.back().same_shape(plans[0])) return {};
  }
  Tensor out = at::empty_like(x);
  const int threads = ops::team_size();
  FusedDecode decode(plans, x, step, out.mutable_data_ptr<float>(), threads);
  ops::parallel_team([&](Team& team) { decode.run(team); });
  return out;
}

}  // namespace caravan::nn
