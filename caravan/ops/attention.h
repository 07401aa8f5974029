// Scaled dot-product attention of one sequence or of a ragged batch, with the mask variants as a small spec.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "caravan/kernels/table.h"

namespace caravan::ops {

using at::Tensor;

struct AttentionSpec {
  double scale = 1.0;
  bool causal = true;
  int64_t prefix = 0;    // keys before this position are seen by every query, causal or not (prefix-LM)
  int64_t window = 0;    // 0: none; else query i sees keys in (i - window, i]
  Tensor visible_keys;   // [Tk] bool, false: no query sees this key; undefined: all visible
  double dropout = 0.0;  // on the weights; the caller passes 0 outside training
};

// q [Tq, H, D], k and v [Tk, K, D] with H a multiple of K; query row i stands at key position Tk - Tq + i.
// -> [Tq, H, D]. A query that sees no key gets what libtorch gives it, or with `weights` (as transformers' eager
// attention) the mean of all values. `weights`, where given, receives the softmax [H, Tq, Tk]. Differentiable.
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec,
                 Tensor* weights = nullptr);

// The kernel for queries of one type over a cache of another; nullptr where there is none.
using PagedKernel = void (*)(const kernels::PagedHead& head);
PagedKernel paged_kernel(at::ScalarType queries, at::ScalarType cache);

// Single-token queries over paged caches: q [B, H, D]; key and value pages [pages, K, P, row], of a type that
// paged_kernel() knows beside q's (kernels/table.h: rows of int8 end with their scale); tables[b] lists the pages of
// sequence b, lengths[b] its stored tokens (the query is the last one). -> [B, H, D]. Inference only.
Tensor paged_attention(const Tensor& q, const Tensor& key_pages, const Tensor& value_pages,
                       const std::vector<std::span<const int32_t>>& tables, std::span<const int64_t> lengths,
                       const AttentionSpec& spec);

namespace reference {
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec,
                 Tensor* weights = nullptr);
}

}  // namespace caravan::ops
