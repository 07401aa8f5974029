#include "caravan/nn/fused_decode.h"

#include <torch/torch.h>

#include <ATen/Parallel.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <vector>

#include "caravan/nn/decoder_layer.h"
#include "caravan/ops/row_product.h"
#include "caravan/ops/threads.h"

namespace caravan::nn {
namespace {

using ops::InputForms;
using ops::RowInputs;
using ops::RowProduct;
using ops::Team;

bool is_plain_float(const Tensor& t) {
  return t.defined() && t.device().is_cpu() && t.scalar_type() == at::kFloat && t.is_contiguous();
}

bool streams(const Linear& layer) {
  const bool bias = !layer.bias.value.defined() || is_plain_float(layer.bias.value);
  return bias && !layer.is_packed() && bool(RowProduct(view(layer.weight)));
}

// Grows only: a token's layers take turns in it.
template <class T>
T* room(std::vector<T>& buffer, int64_t n) {
  if (std::ssize(buffer) < n) buffer.resize(static_cast<size_t>(n));
  return buffer.data();
}

// A Linear with its raw parts.
struct Product {
  explicit Product(const Linear& layer)
      : rows(view(layer.weight)),
        bias(layer.bias.value.defined() ? layer.bias.value.const_data_ptr<float>() : nullptr) {}

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
  const float* bias;
};

// Tasks of one stage, taken in runs by whichever thread is free: cores read memory at different speeds, and all wait
// for the last one. What a task computes does not depend on who runs it.
class Tasks {
 public:
  void prepare(int64_t count, int threads) {
    constexpr int kRunsAThread = 8;
    count_ = count;
    run_ = std::max<int64_t>(1, count / (kRunsAThread * threads));
  }
  template <class F>
  void take(const F& f) {
    for (int64_t begin = next_.fetch_add(run_); begin < count_; begin = next_.fetch_add(run_)) {
      f(begin, std::min(begin + run_, count_));
    }
  }
  int64_t first_of(int thread) const { return thread * run_; }  // where a thread will probably begin

 private:
  std::atomic<int64_t> next_{0};
  int64_t count_ = 0, run_ = 1;
};

// What the threads share during one layer.
struct Run {
  Run(DecoderLayer& layer, const Tensor& x, Step& step)
      : module(layer),
        step(step),
        config(layer.self_attn.config()),
        q(layer.self_attn.q_proj),
        k(layer.self_attn.k_proj),
        v(layer.self_attn.v_proj),
        o(layer.self_attn.o_proj),
        gate(layer.mlp.gate_proj),
        up(layer.mlp.up_proj),
        down(layer.mlp.down_proj),
        m(x.size(0)),
        width(x.size(1)),
        attended_width(config.num_heads * config.head_dim),
        hidden_width(gate.rows.rows()),
        stride(attended_width + 2 * config.num_kv_heads * config.head_dim),
        rotary(step.cos.size(1)),
        cos(step.cos.const_data_ptr<float>()),
        sin(step.sin.const_data_ptr<float>()),
        keys(step.cache->key_pages(layer.self_attn.layer()).mutable_data_ptr<float>()),
        values(step.cache->value_pages(layer.self_attn.layer()).mutable_data_ptr<float>()),
        x(x.const_data_ptr<float>()) {
    thread_local std::vector<float> buffer;
    qkv = room(buffer, m * (stride + attended_width + 3 * hidden_width + width));
    const int threads = at::get_num_threads();
    inputs.prepare(q.rows.tasks() + k.rows.tasks() + v.rows.tasks(), threads);
    outputs.prepare(o.rows.tasks(), threads);
    gates.prepare(gate.rows.tasks(), threads);
    downs.prepare(down.rows.tasks(), threads);
    attended = qkv + m * stride;
    hidden = attended + m * attended_width;
    upper = hidden + m * hidden_width;
    activated = upper + m * hidden_width;
    added = activated + m * hidden_width;
  }

  Tasks inputs, outputs, gates, downs;
  DecoderLayer& module;
  Step& step;
  const AttentionConfig& config;
  Product q, k, v, o, gate, up, down;
  int64_t m, width, attended_width, hidden_width, stride, rotary;
  const float *cos, *sin;  // [m, R]
  float *keys, *values;    // [pages, K, P, D]
  const float* x;          // [m, C]
  float* out = nullptr;    // [m, C]: x with both residuals
  float *qkv, *attended, *hidden, *upper, *activated, *added;
};

// What a thread has for itself.
struct Scratch {
  std::vector<float> normed, scores, head;
  ops::RowInputBuffer inputs;
  std::vector<const void*> key_table, value_table;
};

// Inputs of the next product; every thread makes them for itself, which is cheaper than waiting for one that does.
RowInputs prepare(const float* x, int64_t m, int64_t columns, const InputForms& forms, Scratch& scratch) {
  const RowInputs inputs = scratch.inputs.inputs(x, m, columns, forms);
  ops::RowInputBuffer::fill(inputs, 0, m);
  return inputs;
}

const float* normed(const Run& l, const float* x, const RmsNorm& norm, Scratch& scratch) {
  float* to = room(scratch.normed, l.m * l.width);
  kernels::table().rms_norm_f32(x, norm.weight.value.const_data_ptr<float>(), to, l.m, l.width,
                                static_cast<float>(norm.eps()));
  return to;
}

void project_inputs(Run& l, Scratch& scratch) {
  const InputForms forms = l.q.rows.wants() | l.k.rows.wants() | l.v.rows.wants();
  const RowInputs inputs = prepare(normed(l, l.x, l.module.input_layernorm, scratch), l.m, l.width, forms, scratch);
  l.inputs.take([&](int64_t begin, int64_t end) {
    float* y = l.qkv;
    for (const Product* part : {&l.q, &l.k, &l.v}) {  // tasks are numbered through all three
      const int64_t count = part->rows.tasks(), first = std::max<int64_t>(0, begin), last = std::min(end, count);
      if (first < last) part->run(inputs, y, l.stride, first, last);
      begin -= count;
      end -= count;
      y += part->rows.rows();
    }
  });
}

// The cell of the newest token of sequence b and key-value head h.
int64_t newest_cell(const Run& l, const CacheSequence& sequence, int64_t h) {
  const int64_t page = l.step.cache->shape().page_tokens, at = sequence.length() - 1;
  return ((sequence.pages()[static_cast<size_t>(at / page)] * l.config.num_kv_heads + h) * page + at % page) *
         l.config.head_dim;
}

// Rotates and stores the key of head h, attends with the G queries that belong to it.
void attend_head(const Run& l, int64_t b, int64_t h, Scratch& scratch) {
  const auto& kernels = kernels::table();
  const Attention& attention = l.module.self_attn;
  const CacheSequence& sequence = *l.step.sequences[static_cast<size_t>(b)];
  const int64_t d = l.config.head_dim, group = l.config.num_heads / l.config.num_kv_heads;
  const int64_t page = l.step.cache->shape().page_tokens, cell = newest_cell(l, sequence, h);
  float* queries = l.qkv + b * l.stride + h * group * d;
  float* key = l.qkv + b * l.stride + l.attended_width + h * d;
  const float* value = l.qkv + b * l.stride + l.attended_width + (l.config.num_kv_heads + h) * d;
  const auto norm = [&](const RmsNorm& by, float* heads, int64_t n) {
    kernels.rms_norm_f32(heads, by.weight.value.const_data_ptr<float>(), heads, n, d, static_cast<float>(by.eps()));
  };
  if (attention.q_norm) norm(*attention.q_norm, queries, group);
  if (attention.k_norm) norm(*attention.k_norm, key, 1);
  float* rotated = room(scratch.head, group * d);
  kernels.rotate_f32(queries, l.cos + b * l.rotary, l.sin + b * l.rotary, rotated, group, d, l.rotary);
  kernels.rotate_f32(key, l.cos + b * l.rotary, l.sin + b * l.rotary, l.keys + cell, 1, d, l.rotary);
  std::memcpy(l.values + cell, value, static_cast<size_t>(d) * sizeof(float));

  scratch.key_table.clear();
  scratch.value_table.clear();
  for (const int32_t id : sequence.pages()) {
    const int64_t at = (id * l.config.num_kv_heads + h) * page * d;
    scratch.key_table.push_back(l.keys + at);
    scratch.value_table.push_back(l.values + at);
  }
  const int64_t length = sequence.length(), window = l.config.sliding_window;
  const int64_t first = window > 0 ? std::max<int64_t>(0, length - window) : 0;
  kernels.paged_attention_f32({.queries = rotated,
                               .output = l.attended + b * l.attended_width + h * group * d,
                               .keys = scratch.key_table.data(),
                               .values = scratch.value_table.data(),
                               .group = group,
                               .width = d,
                               .page_tokens = page,
                               .first = first,
                               .last = length,
                               .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(d))),
                               .scores = room(scratch.scores, (length - first) * group)});
}

// out = residual + the product with `from` [m, columns].
void add_product(const Run& l, const Product& product, Tasks& tasks, const float* from, const float* residual,
                 Scratch& scratch) {
  const int64_t columns = &product == &l.o ? l.attended_width : l.hidden_width;
  const RowInputs inputs = prepare(from, l.m, columns, product.rows.wants(), scratch);
  tasks.take([&](int64_t first, int64_t last) {
    product.run(inputs, l.added, l.width, first, last);
    for (int64_t i = 0; i < l.m; ++i) {
      for (int64_t r = Product::begin(first); r < product.end(last); ++r) {
        l.out[i * l.width + r] = residual[i * l.width + r] + l.added[i * l.width + r];
      }
    }
  });
}

void gated_inputs(Run& l, Scratch& scratch) {
  const InputForms forms = l.gate.rows.wants() | l.up.rows.wants();
  const RowInputs inputs =
      prepare(normed(l, l.out, l.module.post_attention_layernorm, scratch), l.m, l.width, forms, scratch);
  l.gates.take([&](int64_t first, int64_t last) {
    l.gate.run(inputs, l.hidden, l.hidden_width, first, last);
    l.up.run(inputs, l.upper, l.hidden_width, first, last);
    const int64_t begin = Product::begin(first), count = l.gate.end(last) - begin;
    for (int64_t i = 0; i < l.m; ++i) {
      const int64_t at = i * l.hidden_width + begin;
      kernels::table().swiglu_f32(l.hidden + at, l.upper + at, l.activated + at, count);
    }
  });
}

}  // namespace

bool can_decode_fused(DecoderLayer& layer, const Tensor& x, const Step& step) {
  constexpr int64_t kMost = 16;
  const int64_t m = step.tokens();
  if (step.cache == nullptr || step.tree != nullptr || m != step.batch() || m > kMost || at::GradMode::is_enabled() ||
      step.capture != nullptr || step.visible_keys.defined() || observer() != nullptr || linear_inputs() != nullptr ||
      layer.training() || layer.mlp.activation() != ops::Activation::silu) {
    return false;
  }
  Attention& attention = layer.self_attn;
  const bool tensors = is_plain_float(x) && is_plain_float(step.cos) && is_plain_float(step.sin) &&
                       step.cache->dtype() == at::kFloat && step.cache->device().is_cpu() &&
                       is_plain_float(layer.input_layernorm.weight) &&
                       is_plain_float(layer.post_attention_layernorm.weight) &&
                       (!attention.q_norm || is_plain_float(attention.q_norm->weight)) &&
                       (!attention.k_norm || is_plain_float(attention.k_norm->weight));
  return tensors && streams(attention.q_proj) && streams(attention.k_proj) && streams(attention.v_proj) &&
         streams(attention.o_proj) && streams(layer.mlp.gate_proj) && streams(layer.mlp.up_proj) &&
         streams(layer.mlp.down_proj);
}

Tensor decode_fused(DecoderLayer& layer, const Tensor& x, Step& step) {
  Tensor out = at::empty_like(x);
  Run l(layer, x, step);
  l.out = out.mutable_data_ptr<float>();
  ops::parallel_team([&](Team& team) {
    thread_local Scratch scratch;
    project_inputs(l, scratch);
    l.o.rows.prefetch(l.outputs.first_of(team.index));
    team.barrier();
    const auto [first, last] = team.share(l.m * l.config.num_kv_heads);
    for (int64_t job = first; job < last; ++job) {
      attend_head(l, job / l.config.num_kv_heads, job % l.config.num_kv_heads, scratch);
    }
    team.barrier();
    add_product(l, l.o, l.outputs, l.attended, l.x, scratch);
    l.gate.rows.prefetch(l.gates.first_of(team.index));
    team.barrier();
    gated_inputs(l, scratch);
    l.down.rows.prefetch(l.downs.first_of(team.index));
    team.barrier();
    add_product(l, l.down, l.downs, l.activated, l.out, scratch);
  });
  return out;
}

}  // namespace caravan::nn
