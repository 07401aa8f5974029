#include "caravan/ops/attention.h"

#include <torch/torch.h>

#include <numeric>
#include <vector>

#include "caravan/base/error.h"
#include "caravan/kernels/table.h"
#include "caravan/ops/threads.h"
#include "caravan/ops/tree_attention.h"

namespace caravan::ops {
namespace {

void check_shapes(const Tensor& q, const Tensor& k, const Tensor& v) {
  check(q.dim() == 3 && k.dim() == 3 && v.sizes() == k.sizes() && q.size(2) == k.size(2) && k.size(1) > 0 &&
            q.size(1) % k.size(1) == 0 && q.size(0) <= k.size(0),
        ErrorCode::invalid_argument, "attention: q [Tq, H, D] and k, v [Tk, K, D] with H a multiple of K are expected");
}

bool has_mask(int64_t tq, int64_t tk, const AttentionSpec& spec) {
  const bool hides_future = spec.causal && tq > 1 && spec.prefix < tk;
  const bool hides_past = spec.window > 0 && tk > spec.window;
  return hides_future || hides_past || spec.visible_keys.defined();
}

// true where query i may see key j, [Tq, Tk].
Tensor visible(int64_t tq, int64_t tk, const AttentionSpec& spec, at::Device device) {
  const auto options = at::TensorOptions().dtype(at::kLong).device(device);
  const Tensor i = at::arange(tk - tq, tk, options).unsqueeze(1), j = at::arange(tk, options).unsqueeze(0);
  Tensor mask = spec.causal ? j <= i : at::ones({tq, tk}, options.dtype(at::kBool));
  if (spec.window > 0) mask = mask.logical_and(j > i - spec.window);
  if (spec.prefix > 0) mask = mask.logical_or(j < spec.prefix);
  return spec.visible_keys.defined() ? mask.logical_and(spec.visible_keys.unsqueeze(0)) : mask;
}

// Whether our own kernel attends: three times as fast as libtorch's for 512 tokens (Zen 5), but it packs all keys
// first, which some few queries of many keys do not pay for.
bool has_kernel(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec) {
  const bool plain = spec.prefix == 0 && !spec.visible_keys.defined() && (spec.causal || spec.window <= 0);
  const bool pays = q.size(0) >= 8 || k.size(0) <= 64 * q.size(0);
  return plain && pays && q.device().is_cpu() && q.scalar_type() == at::kFloat && k.scalar_type() == at::kFloat &&
         spec.dropout == 0.0 && !needs_gradient({q, k, v});
}

// [T, H, D] -> [1, H, T, D], the layout of libtorch's attention.
Tensor heads_first(const Tensor& x) { return x.transpose(0, 1).unsqueeze(0); }

}  // namespace

Tensor reference::attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec,
                            Tensor* weights) {
  check_shapes(q, k, v);
  const int64_t group = q.size(1) / k.size(1);
  const Tensor keys = k.transpose(0, 1).repeat_interleave(group, 0);  // [H, Tk, D]
  const Tensor values = v.transpose(0, 1).repeat_interleave(group, 0);
  Tensor scores = at::matmul(q.transpose(0, 1), keys.transpose(1, 2)) * spec.scale;  // [H, Tq, Tk]
  const auto wide = q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  scores = scores.to(wide);
  if (has_mask(q.size(0), k.size(0), spec)) {
    const double lowest =
        wide == at::kDouble ? std::numeric_limits<double>::lowest() : std::numeric_limits<float>::lowest();
    // Added, not filled in: a padded row that sees nothing then has transformers' gradients as well as its values.
    const Tensor hidden = visible(q.size(0), k.size(0), spec, q.device()).logical_not();
    scores = scores + at::zeros(hidden.sizes(), scores.options()).masked_fill_(hidden, lowest);
  }
  Tensor p = at::softmax(scores, -1).to(q.scalar_type());
  if (spec.dropout > 0) p = at::dropout(p, spec.dropout, /*train=*/true);
  if (weights != nullptr) *weights = p;
  return at::matmul(p, values).transpose(0, 1).contiguous();
}

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec, Tensor* weights) {
  if (weights != nullptr) return reference::attention(q, k, v, spec, weights);
  check_shapes(q, k, v);
  const int64_t tq = q.size(0), tk = k.size(0);
  if (has_kernel(q, k, v, spec)) {
    std::vector<int64_t> rows(static_cast<size_t>(tq));
    std::iota(rows.begin(), rows.end(), tk - tq);
    return prompt_attention(q, pack_prompts(k, v, {0, tk}), rows, spec);
  }
  const bool masked = has_mask(tq, tk, spec);
  const bool plain_causal = masked && spec.causal && spec.prefix == 0 && tq == tk && !spec.visible_keys.defined() &&
                            (spec.window <= 0 || spec.window >= tk);
  std::optional<Tensor> mask;
  if (masked && !plain_causal) mask = visible(tq, tk, spec, q.device());
  const Tensor out =
      at::scaled_dot_product_attention(heads_first(q), heads_first(k), heads_first(v), mask, spec.dropout, plain_causal,
                                       spec.scale, /*enable_gqa=*/q.size(1) != k.size(1));
  return out.squeeze(0).transpose(0, 1).contiguous();
}

PagedKernel paged_kernel(at::ScalarType queries, at::ScalarType cache) {
  const kernels::PagedTable& paged = *kernels::table().paged;
  if (queries == at::kBFloat16) return cache == at::kBFloat16 ? paged.attend_bf16 : nullptr;
  if (queries != at::kFloat) return nullptr;
  return cache == at::kFloat      ? paged.attend_f32
         : cache == at::kBFloat16 ? paged.attend_f32_bf16
         : cache == at::kChar     ? paged.attend_f32_i8
                                  : nullptr;
}

Tensor paged_attention(const Tensor& q, const Tensor& key_pages, const Tensor& value_pages,
                       const std::vector<std::span<const int32_t>>& tables, std::span<const int64_t> lengths,
                       const AttentionSpec& spec) {
  const int64_t batch = q.size(0), heads = q.size(1), width = q.size(2), kv_heads = key_pages.size(1);
  const int64_t page = key_pages.size(2), group = heads / kv_heads, element = q.element_size();
  const int64_t page_bytes = page * key_pages.size(3) * key_pages.element_size();  // of one head
  const PagedKernel run = paged_kernel(q.scalar_type(), key_pages.scalar_type());
  check(q.is_contiguous() && run != nullptr && static_cast<int64_t>(tables.size()) == batch &&
            static_cast<int64_t>(lengths.size()) == batch,
        ErrorCode::internal,
        "paged_attention: contiguous queries, a cache of their kind and a table each are expected");
  Tensor out = at::empty_like(q);
  const auto* queries = static_cast<const char*>(q.const_data_ptr());
  const auto* keys = static_cast<const char*>(key_pages.const_data_ptr());
  const auto* values = static_cast<const char*>(value_pages.const_data_ptr());
  auto* outputs = static_cast<char*>(out.mutable_data_ptr());
  int64_t longest = 0;
  for (int64_t length : lengths) longest = std::max(longest, length);

  parallel_rows(batch * kv_heads, longest * width * group, [&](int64_t begin, int64_t end) {
    std::vector<const void*> key_table, value_table;
    std::vector<float> scores;
    for (int64_t job = begin; job < end; ++job) {
      const int64_t b = job / kv_heads, h = job % kv_heads, length = lengths[b];
      const int64_t first = spec.window > 0 ? std::max<int64_t>(0, length - spec.window) : 0;
      key_table.clear();
      value_table.clear();
      for (int32_t id : tables[b]) {
        const int64_t at = (id * kv_heads + h) * page_bytes;
        key_table.push_back(keys + at);
        value_table.push_back(values + at);
      }
      scores.resize(static_cast<size_t>((length - first) * group));
      const int64_t at = (b * heads + h * group) * width * element;
      run({.queries = queries + at,
           .output = outputs + at,
           .keys = key_table.data(),
           .values = value_table.data(),
           .group = group,
           .width = width,
           .page_tokens = page,
           .first = first,
           .last = length,
           .scale = static_cast<float>(spec.scale),
           .scores = scores.data()});
    }
  });
  return out;
}

}  // namespace caravan::ops
