#include "caravan/ops/packed_attention.h"

#include <torch/torch.h>

#include <algorithm>
#include <cstring>

#include "caravan/base/error.h"
#include "caravan/ops/threads.h"

namespace caravan::ops {
namespace {

struct Layout {
  std::vector<int64_t> starts;  // of the group's sequences and the end of the last
  int64_t longest;
  int64_t batch() const { return static_cast<int64_t>(starts.size()) - 1; }
};

// Copies rows between [T, width] and [B, L, width]; rows of padding become zeros.
void copy_rows(const Layout& layout, const Tensor& ragged, const Tensor& padded, bool to_padded) {
  const int64_t row = ragged.size(1) * ragged.size(2) * ragged.element_size();
  auto* flat = static_cast<char*>(ragged.data_ptr());
  auto* rectangle = static_cast<char*>(padded.data_ptr());
  parallel_rows(layout.batch(), layout.longest * row / 4, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t from = layout.starts[b], length = layout.starts[b + 1] - from;
      char *a = flat + (from - layout.starts[0]) * row, *p = rectangle + b * layout.longest * row;
      std::memcpy(to_padded ? p : a, to_padded ? a : p, static_cast<size_t>(length * row));
      if (to_padded) std::memset(p + length * row, 0, static_cast<size_t>((layout.longest - length) * row));
    }
  });
}

// ragged [tokens, H, D] -> [B, L, H, D]
Tensor pad(const Layout& layout, const Tensor& ragged) {
  const Tensor source = ragged.contiguous();
  Tensor padded = at::empty({layout.batch(), layout.longest, source.size(1), source.size(2)}, source.options());
  copy_rows(layout, source, padded, true);
  return padded;
}

Tensor unpad(const Layout& layout, const Tensor& padded) {
  const Tensor source = padded.contiguous();
  Tensor ragged =
      at::empty({layout.starts.back() - layout.starts[0], source.size(2), source.size(3)}, source.options());
  copy_rows(layout, ragged, source, false);
  return ragged;
}

struct PadFunction : torch::autograd::Function<PadFunction> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& ragged, const Layout& layout) {
    context->saved_data["starts"] = layout.starts;
    context->saved_data["longest"] = layout.longest;
    return pad(layout, ragged);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const Layout layout{context->saved_data["starts"].toIntVector(), context->saved_data["longest"].toInt()};
    return {unpad(layout, gradients[0]), Tensor()};
  }
};

struct UnpadFunction : torch::autograd::Function<UnpadFunction> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& padded, const Layout& layout) {
    context->saved_data["starts"] = layout.starts;
    context->saved_data["longest"] = layout.longest;
    return unpad(layout, padded);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const Layout layout{context->saved_data["starts"].toIntVector(), context->saved_data["longest"].toInt()};
    return {pad(layout, gradients[0]), Tensor()};
  }
};

// [B, L, H, D] -> [B, H, L, D]
Tensor heads_first(const Tensor& x) { return x.transpose(1, 2); }

// true where token i of a sequence may see token j: [L, L], with prefixes [B, 1, L, L]; nullopt: plainly causal. A
// prefix ends inside of its sequence, so that no token sees padding.
std::optional<Tensor> mask_of(const Layout& layout, const AttentionSpec& spec, std::span<const int64_t> prefixes,
                              at::Device device) {
  const bool slides = spec.window > 0 && spec.window < layout.longest;
  if (!slides && prefixes.empty()) return std::nullopt;
  const Tensor i = at::arange(layout.longest, device).unsqueeze(1), j = at::arange(layout.longest, device).unsqueeze(0);
  Tensor mask = j <= i;
  if (slides) mask = mask.logical_and(i - j < spec.window);
  if (prefixes.empty()) return mask;
  const Tensor ends = at::tensor(at::ArrayRef<int64_t>(prefixes.data(), prefixes.size()), at::kLong).to(device);
  return mask.logical_or(j < ends.view({-1, 1, 1})).unsqueeze(1);
}

Tensor group_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Layout& layout,
                       const AttentionSpec& spec, std::span<const int64_t> prefixes) {
  const int64_t first = layout.starts.front(), last = layout.starts.back();
  const auto padded = [&](const Tensor& x) { return heads_first(PadFunction::apply(x.slice(0, first, last), layout)); };
  const std::optional<Tensor> mask = mask_of(layout, spec, prefixes, q.device());
  const Tensor out = at::scaled_dot_product_attention(padded(q), padded(k), padded(v), mask, spec.dropout,
                                                      /*is_causal=*/!mask.has_value(), spec.scale,
                                                      /*enable_gqa=*/q.size(1) != k.size(1));
  return UnpadFunction::apply(heads_first(out), layout);
}

}  // namespace

std::vector<SequenceGroup> group_by_length(const std::vector<int64_t>& starts) {
  // A group ends where a sequence is shorter than 3/4 of its longest one or would make it longer by as much: the
  // padding of a group stays below a quarter, and sorted batches have few groups.
  std::vector<SequenceGroup> groups;
  int64_t shortest = 0;
  for (int64_t b = 0; b + 1 < static_cast<int64_t>(starts.size()); ++b) {
    const int64_t length = starts[b + 1] - starts[b];
    const bool fits = !groups.empty() && 4 * std::min(shortest, length) >= 3 * std::max(groups.back().longest, length);
    if (!fits) groups.push_back({.first = b, .last = b, .longest = length}), shortest = length;
    groups.back().last = b + 1;
    groups.back().longest = std::max(groups.back().longest, length);
    shortest = std::min(shortest, length);
  }
  return groups;
}

Tensor packed_attention(const Tensor& q, const Tensor& k, const Tensor& v, const std::vector<int64_t>& starts,
                        const AttentionSpec& spec, std::span<const int64_t> prefixes) {
  check(spec.causal && !spec.visible_keys.defined() && q.dim() == 3 && k.dim() == 3 && v.sizes() == k.sizes() &&
            q.size(0) == k.size(0) && !starts.empty() && starts.back() == q.size(0),
        ErrorCode::internal, "packed_attention: causal attention over q [T, H, D], k and v [T, K, D] is expected");
  std::vector<Tensor> outputs;
  for (const SequenceGroup& group : group_by_length(starts)) {
    const Layout layout{{starts.begin() + group.first, starts.begin() + group.last + 1}, group.longest};
    const std::span<const int64_t> own =
        prefixes.empty()
            ? prefixes
            : prefixes.subspan(static_cast<size_t>(group.first), static_cast<size_t>(group.last - group.first));
    outputs.push_back(group_attention(q, k, v, layout, spec, own));
  }
  return outputs.size() == 1 ? outputs[0] : at::cat(outputs);
}

}  // namespace caravan::ops
