#include "caravan/ops/packed_attention.h"

#include <torch/torch.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "caravan/base/error.h"
#include "caravan/kernels/causal_gradient.h"
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
  if (slides) mask = mask.logical_and(j > i - spec.window);
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

// --- our own kernels: each sequence by itself, no padding ------------------------------------------------------------

struct Shape {
  int64_t heads, kv_heads, width;
  int64_t group() const { return heads / kv_heads; }
};

Shape shape_of(const Tensor& q, const Tensor& k) { return {q.size(1), k.size(1), q.size(2)}; }

template <class T>
auto* data_of(const Tensor& t) {
  if constexpr (std::is_same_v<T, float>) {
    return t.const_data_ptr<float>();
  } else {
    return bf16_data(t);
  }
}

// Calls work(sequence, kv head) for all of them, longest-running threads taking fewer.
template <class Work>
void for_heads(const std::vector<int64_t>& starts, const Shape& shape, const Work& make_work) {
  const int64_t jobs = (std::ssize(starts) - 1) * shape.kv_heads;
  std::atomic<int64_t> next = 0;
  const auto run = [&](int64_t, int64_t) {
    auto work = make_work();
    for (int64_t job = next++; job < jobs; job = next++) work(job / shape.kv_heads, job % shape.kv_heads);
  };
  const int64_t tokens = starts.back() - starts.front();
  if (tokens * shape.heads * shape.width < (1 << 14)) return run(0, 1);
  parallel_pieces(at::get_num_threads(), 1, run);
}

// Keys and values of one head and sequence as the kernels want them.
template <class T>
struct Packed {
  std::vector<float> keys_across, keys, values_across, values;
  // Rows [start, start + tokens) of one head of k and v [T, K, D].
  void fill(const Tensor& k, const Tensor& v, int64_t start, int64_t tokens, int64_t head, bool backward) {
    const int64_t width = k.size(2), stride = k.size(1) * width, at = start * stride + head * width;
    const auto sized = static_cast<size_t>(kernels::tree_stride(tokens) * width);
    for (auto* list : {&keys_across, &keys, &values_across, &values}) list->resize(sized);
    const T *from_keys = data_of<T>(k) + at, *from_values = data_of<T>(v) + at;
    const auto pack = [&](const T* across, const T* along, float* to_across, float* to_along) {
      if constexpr (std::is_same_v<T, float>) {
        kernels::tree_table().pack_f32(across, along, tokens, stride, width, to_across, to_along);
      } else {
        kernels::tree_table().pack_bf16(across, along, tokens, stride, width, to_across, to_along);
      }
    };
    pack(from_keys, backward ? from_keys : from_values, keys_across.data(), backward ? keys.data() : values.data());
    if (backward) pack(from_values, from_values, values_across.data(), values.data());
  }
};

template <class T>
Tensor run_forward(const Tensor& q, const Tensor& k, const Tensor& v, const std::vector<int64_t>& starts,
                   const AttentionSpec& spec) {
  const Shape shape = shape_of(q, k);
  Tensor out = at::empty_like(q);
  int64_t longest = 0;
  for (size_t b = 0; b + 1 < starts.size(); ++b) longest = std::max(longest, starts[b + 1] - starts[b]);
  std::vector<int64_t> visible(static_cast<size_t>(longest));
  for (int64_t t = 0; t < longest; ++t) visible[t] = t + 1;
  for_heads(starts, shape, [&] {
    return [&, packed = Packed<T>(), scratch = std::vector<float>()](int64_t b, int64_t h) mutable {
      const int64_t start = starts[b], tokens = starts[b + 1] - start, row = shape.heads * shape.width;
      packed.fill(k, v, start, tokens, h, /*backward=*/false);
      scratch.resize(static_cast<size_t>(kernels::tree_scratch(shape.width, 0)));
      const int64_t at = start * row + h * shape.group() * shape.width;
      const kernels::TreeHead call{.queries = data_of<T>(q) + at,
                                   .output = const_cast<T*>(data_of<T>(out)) + at,
                                   .row_stride = row,
                                   .rows = tokens,
                                   .group = shape.group(),
                                   .width = shape.width,
                                   .keys = packed.keys_across.data(),
                                   .values = packed.values.data(),
                                   .tokens = tokens,
                                   .visible = visible.data(),
                                   .tail_keys = nullptr,
                                   .tail_values = nullptr,
                                   .tail = 0,
                                   .window = spec.window,
                                   .scale = static_cast<float>(spec.scale),
                                   .scratch = scratch.data()};
      if constexpr (std::is_same_v<T, float>) {
        kernels::tree_table().attend_f32(call);
      } else {
        kernels::tree_table().attend_bf16(call);
      }
    };
  });
  return out;
}

struct Gradients {
  Tensor q, k, v;
};

template <class T>
void run_backward(const Gradients& in, const Tensor& gradient, const std::vector<int64_t>& starts,
                  const AttentionSpec& spec, const Gradients& out) {
  const Shape shape = shape_of(in.q, in.k);
  for_heads(starts, shape, [&] {
    return [&, packed = Packed<T>(), scratch = std::vector<float>()](int64_t b, int64_t h) mutable {
      const int64_t start = starts[b], tokens = starts[b + 1] - start, width = shape.width;
      const int64_t row = shape.heads * width, kv_row = shape.kv_heads * width;
      packed.fill(in.k, in.v, start, tokens, h, /*backward=*/true);
      scratch.resize(static_cast<size_t>(kernels::causal_scratch(tokens, width)));
      const int64_t at = start * row + h * shape.group() * width, kv_at = start * kv_row + h * width;
      const kernels::CausalGradient call{.queries = data_of<T>(in.q) + at,
                                         .gradient = data_of<T>(gradient) + at,
                                         .d_queries = const_cast<T*>(data_of<T>(out.q)) + at,
                                         .row_stride = row,
                                         .keys_across = packed.keys_across.data(),
                                         .values_across = packed.values_across.data(),
                                         .keys = packed.keys.data(),
                                         .d_keys = const_cast<T*>(data_of<T>(out.k)) + kv_at,
                                         .d_values = const_cast<T*>(data_of<T>(out.v)) + kv_at,
                                         .kv_stride = kv_row,
                                         .tokens = tokens,
                                         .group = shape.group(),
                                         .width = width,
                                         .window = spec.window,
                                         .scale = static_cast<float>(spec.scale),
                                         .scratch = scratch.data()};
      if constexpr (std::is_same_v<T, float>) {
        kernels::causal_table().gradient_f32(call);
      } else {
        kernels::causal_table().gradient_bf16(call);
      }
    };
  });
}

struct PackedAttentionFunction : torch::autograd::Function<PackedAttentionFunction> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& queries, const Tensor& keys,
                        const Tensor& values, const std::vector<int64_t>& starts, const AttentionSpec& spec) {
    const Tensor q = queries.contiguous(), k = keys.contiguous(), v = values.contiguous();
    context->save_for_backward({q, k, v});
    context->saved_data["starts"] = starts;
    context->saved_data["scale"] = spec.scale;
    context->saved_data["window"] = spec.window;
    return q.scalar_type() == at::kFloat ? run_forward<float>(q, k, v, starts, spec)
                                         : run_forward<kernels::bf16>(q, k, v, starts, spec);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const Gradients in{saved[0], saved[1], saved[2]};
    const Gradients out{at::empty_like(in.q), at::empty_like(in.k), at::empty_like(in.v)};
    const Tensor gradient = gradients[0].to(in.q.scalar_type()).contiguous();
    const auto starts = context->saved_data["starts"].toIntVector();
    const AttentionSpec spec{.scale = context->saved_data["scale"].toDouble(),
                             .window = context->saved_data["window"].toInt()};
    if (in.q.scalar_type() == at::kFloat) {
      run_backward<float>(in, gradient, starts, spec, out);
    } else {
      run_backward<kernels::bf16>(in, gradient, starts, spec, out);
    }
    return {out.q, out.k, out.v, Tensor(), Tensor()};
  }
};

// Heads of whole vectors; sequences whose keys stay in the cache while four queries at a time meet them.
bool has_kernel(const Tensor& q, const Tensor& k, const std::vector<int64_t>& starts, const AttentionSpec& spec) {
  constexpr int64_t kLongest = 1024;
  if (spec.dropout > 0 || !q.device().is_cpu() || q.size(2) % 16 != 0 || q.scalar_type() != k.scalar_type() ||
      (q.scalar_type() != at::kFloat && q.scalar_type() != at::kBFloat16)) {
    return false;
  }
  for (size_t b = 0; b + 1 < starts.size(); ++b) {
    if (starts[b + 1] - starts[b] > kLongest) return false;
  }
  return true;
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
  if (prefixes.empty() && has_kernel(q, k, starts, spec)) return PackedAttentionFunction::apply(q, k, v, starts, spec);
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
