#include "caravan/nn/attention.h"

#include <torch/torch.h>

#include "caravan/nn/tree_cache.h"
#include "caravan/ops/packed_attention.h"
#include "caravan/ops/rotary.h"
#include "caravan/ops/threads.h"

namespace caravan::nn {

Attention::Attention(const AttentionConfig& config, int64_t layer)
    : q_proj(config.hidden_size, config.num_heads * config.head_dim, config.qkv_bias),
      k_proj(config.hidden_size, config.num_kv_heads * config.head_dim, config.qkv_bias),
      v_proj(config.hidden_size, config.num_kv_heads * config.head_dim, config.qkv_bias),
      o_proj(config.num_heads * config.head_dim, config.hidden_size, config.output_bias),
      config_(config),
      layer_(layer) {
  add("q_proj", q_proj);
  add("k_proj", k_proj);
  add("v_proj", v_proj);
  add("o_proj", o_proj);
  if (!config.qk_norm_eps) return;
  add("q_norm", q_norm.emplace(config.head_dim, *config.qk_norm_eps));
  add("k_norm", k_norm.emplace(config.head_dim, *config.qk_norm_eps));
}

Tensor Attention::forward(const Tensor& x, Step& step) {  // x [T, C]
  const int64_t d = config_.head_dim;
  const bool narrow = step.narrow && step.tree != nullptr;
  Tensor q, k, v, cos = step.cos, sin = step.sin;  // the rotation of the queries
  if (narrow) {
    const Tensor rows = step.output_index();
    q = q_proj(x.index_select(0, rows));
    cos = cos.index_select(0, rows), sin = sin.index_select(0, rows);
    k = k_proj(x);
    v = v_proj(x);
  } else {
    const auto all = project(x, std::array{&q_proj, &k_proj, &v_proj});
    q = all[0], k = all[1], v = all[2];
  }
  q = q.view({-1, config_.num_heads, d});     // [T, H, D]
  k = k.view({-1, config_.num_kv_heads, d});  // [T, K, D]
  v = v.view({-1, config_.num_kv_heads, d});
  if (q_norm) q = (*q_norm)(q), k = (*k_norm)(k);
  q = ops::rotate(q, cos, sin);
  k = ops::rotate(k, step.cos, step.sin);
  const ops::AttentionSpec spec{.scale = 1.0 / std::sqrt(static_cast<double>(d)),
                                .causal = true,
                                .window = config_.sliding_window,
                                .dropout = training() ? config_.dropout : 0.0};
  return o_proj(attend(q, k, v, spec, layer_, step).flatten(1));  // [T, C]
}

namespace {

// The type of queries that the cache's kernel takes: their own, or fp32; nothing where there is no kernel.
std::optional<at::ScalarType> paged_queries(const Tensor& q, const KvCache& cache) {
  for (const at::ScalarType type : {q.scalar_type(), at::kFloat}) {
    if (ops::paged_kernel(type, cache.dtype()) != nullptr) return type;
  }
  return std::nullopt;
}

// One query per sequence and a cache in host memory: the paged kernel reads the pages where they are.
bool can_read_pages(const Tensor& q, const ops::AttentionSpec& spec, const Step& step) {
  return step.cache != nullptr && step.capture == nullptr && step.tokens() == step.batch() && q.device().is_cpu() &&
         paged_queries(q, *step.cache).has_value() && spec.dropout == 0.0 && !ops::needs_gradient({q});
}

Tensor attend_to_pages(const Tensor& q, const ops::AttentionSpec& spec, int64_t layer, const Step& step) {
  std::vector<std::span<const int32_t>> tables;
  std::vector<int64_t> lengths;
  for (const CacheSequence* sequence : step.sequences) {
    tables.push_back(sequence->pages());
    lengths.push_back(sequence->length());
  }
  const Tensor queries = q.to(*paged_queries(q, *step.cache)).contiguous();
  return ops::paged_attention(queries, step.cache->key_pages(layer), step.cache->value_pages(layer), tables, lengths,
                              spec)
      .to(q.scalar_type());
}

}  // namespace

Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, const ops::AttentionSpec& spec, int64_t layer,
              Step& step) {
  if (step.tree != nullptr) return step.tree->attend(layer, q, k, v, spec, step);
  if (step.cache != nullptr) step.cache->store(layer, step.sequences, step.starts, k, v);
  if (can_read_pages(q, spec, step)) return attend_to_pages(q, spec, layer, step);

  const bool plain = step.cache == nullptr && step.capture == nullptr && !step.visible_keys.defined() && spec.causal;
  if (plain && step.batch() > 1 && q.device().is_cpu())
    return ops::packed_attention(q, k, v, step.starts, spec, step.prefixes);

  const bool want_weights = step.capture != nullptr && step.capture->want_attentions;
  if (want_weights) step.capture->attentions.emplace_back();
  std::vector<Tensor> outputs;
  for (int64_t b = 0; b < step.batch(); ++b) {
    const int64_t begin = step.starts[b], end = step.starts[b + 1];
    Tensor keys = k.slice(0, begin, end), values = v.slice(0, begin, end);  // [Tk, K, D]
    if (step.past(b) > 0) {
      keys = step.cache->gather_keys(layer, *step.sequences[b]).transpose(0, 1).to(q.scalar_type());
      values = step.cache->gather_values(layer, *step.sequences[b]).transpose(0, 1).to(q.scalar_type());
    }
    ops::AttentionSpec own = spec;
    if (!step.prefixes.empty()) own.prefix = step.prefixes[b];
    if (step.visible_keys.defined()) own.visible_keys = step.visible_keys[b];
    Tensor weights;
    outputs.push_back(ops::attention(q.slice(0, begin, end), keys, values, own, want_weights ? &weights : nullptr));
    if (want_weights) step.capture->attentions.back().push_back(weights);
  }
  return outputs.size() == 1 ? outputs[0] : at::cat(outputs);
}

}  // namespace caravan::nn
