#include "caravan/ops/tree_attention.h"

#include <torch/torch.h>

#include <algorithm>
#include <atomic>

#include "caravan/base/error.h"
#include "caravan/kernels/tree_attention.h"
#include "caravan/ops/threads.h"

namespace caravan::ops {
namespace {

// The prompt of every row of an ascending list.
std::vector<int64_t> row_starts(const TreePrompts& prompts, std::span<const int64_t> rows) {
  std::vector<int64_t> starts;
  for (int64_t first : prompts.starts)
    starts.push_back(std::lower_bound(rows.begin(), rows.end(), first) - rows.begin());
  return starts;
}

bool has_kernel(const Tensor& x) {
  return x.device().is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}

void check_call(const Tensor& q, const TreePrompts& prompts, int64_t rows, const AttentionSpec& spec) {
  check(q.dim() == 3 && q.size(0) == rows && q.size(2) == prompts.width && q.size(1) % prompts.kv_heads == 0 &&
            !spec.visible_keys.defined() && spec.dropout == 0.0 && !needs_gradient({q}),
        ErrorCode::internal, "tree attention: [{}, H, {}] queries of an inference call are expected", rows,
        prompts.width);
}

// Rows [starts[u], starts[u + 1]) of q attend to prompt u.
struct Call {
  const TreePrompts& prompts;
  std::span<const int64_t> starts;   // [U + 1]
  std::span<const int64_t> visible;  // [rows] tokens of the prompt
  const TreeBranches* branches = nullptr;
};

// The tails of rows [begin, end) for one key-value head.
void collect_tails(const TreeBranches& branches, int64_t begin, int64_t end, int64_t head,
                   std::vector<const void*>& keys, std::vector<const void*>& values) {
  const int64_t tail = std::ssize(branches.keys);
  keys.clear();
  values.clear();
  for (int64_t row = begin; row < end; ++row) {
    for (int64_t g = 0; g < tail; ++g) {
      const Tensor &k = branches.keys[g], &v = branches.values[g];
      const int64_t at = (branches.paths[row * tail + g] * k.size(1) + head) * k.size(2) * k.element_size();
      keys.push_back(static_cast<const char*>(k.const_data_ptr()) + at);
      values.push_back(static_cast<const char*>(v.const_data_ptr()) + at);
    }
  }
}

class KernelRun {
 public:
  KernelRun(const Tensor& q, const Call& call, const AttentionSpec& spec, const Tensor& out)
      : q_(q), call_(call), spec_(spec), out_(out), heads_(call.prompts.kv_heads) {}

  // One prompt's rows [begin, end) with one key-value head.
  void run(int64_t prompt, int64_t head, int64_t begin, int64_t end) {
    const TreePrompts& p = call_.prompts;
    const int64_t tokens = p.tokens(prompt), group = q_.size(1) / heads_;
    const int64_t tail = call_.branches == nullptr ? 0 : std::ssize(call_.branches->keys);
    if (tail > 0) collect_tails(*call_.branches, begin, end, head, tail_keys_, tail_values_);
    scratch_.resize(static_cast<size_t>(kernels::tree_scratch(p.width, tail)));
    const int64_t at = (begin * q_.size(1) + head * group) * p.width * q_.element_size();
    const int64_t key_at = (p.packed_starts[prompt] * heads_ + head * kernels::tree_stride(tokens)) * p.width;
    const kernels::TreeHead call{.queries = static_cast<const char*>(q_.const_data_ptr()) + at,
                                 .output = static_cast<char*>(out_.mutable_data_ptr()) + at,
                                 .row_stride = q_.size(1) * p.width,
                                 .rows = end - begin,
                                 .group = group,
                                 .width = p.width,
                                 .keys = p.packed_keys.const_data_ptr<float>() + key_at,
                                 .values = p.packed_values.const_data_ptr<float>() +
                                           (p.starts[prompt] * heads_ + head * tokens) * kernels::tree_width(p.width),
                                 .tokens = tokens,
                                 .visible = call_.visible.data() + begin,
                                 .tail_keys = tail_keys_.data(),
                                 .tail_values = tail_values_.data(),
                                 .tail = tail,
                                 .window = spec_.causal ? spec_.window : 0,
                                 .scale = static_cast<float>(spec_.scale),
                                 .scratch = scratch_.data()};
    (q_.scalar_type() == at::kFloat ? kernels::tree_table().attend_f32 : kernels::tree_table().attend_bf16)(call);
  }

 private:
  const Tensor& q_;
  const Call& call_;
  const AttentionSpec& spec_;
  const Tensor& out_;
  int64_t heads_;
  std::vector<const void*> tail_keys_, tail_values_;
  std::vector<float> scratch_;
};

Tensor run_kernel(const Tensor& queries, const Call& call, const AttentionSpec& spec) {
  constexpr int64_t kRows = 64;  // of a job: a single long prompt keeps all threads busy
  struct Job {
    int64_t prompt, head, begin, end;
  };
  const Tensor q = queries.contiguous();
  Tensor out = at::empty_like(q);
  std::vector<Job> jobs;
  int64_t longest = 1;
  for (int64_t u = 0; u + 1 < std::ssize(call.starts); ++u) {
    longest = std::max(longest, call.prompts.tokens(u));
    for (int64_t at = call.starts[u]; at < call.starts[u + 1]; at += kRows) {
      for (int64_t h = 0; h < call.prompts.kv_heads; ++h)
        jobs.push_back({u, h, at, std::min(at + kRows, call.starts[u + 1])});
    }
  }
  const int64_t count = std::ssize(jobs);
  const int64_t work = longest * q.size(2) * std::max<int64_t>(1, q.size(0) * q.size(1) / std::max<int64_t>(1, count));
  std::atomic<int64_t> left = count;  // whoever is free takes the next; later rows see more, so they come first
  parallel_rows(count, work / 4, [&](int64_t, int64_t) {
    KernelRun run(q, call, spec, out);
    for (int64_t i = --left; i >= 0; i = --left) run.run(jobs[i].prompt, jobs[i].head, jobs[i].begin, jobs[i].end);
  });
  return out;
}

// Keys or values that one row sees, given by the rows of each tensor: [1, T, K, D] pieces joined.
Tensor joined(const Tensor& prompt, std::span<const Tensor> generations, std::span<const int64_t> path) {
  std::vector<Tensor> parts = {prompt};
  for (size_t g = 0; g < generations.size(); ++g) parts.push_back(generations[g].slice(0, path[g], path[g] + 1));
  return at::cat(parts);
}

}  // namespace

Tensor reference::prompt_attention(const Tensor& q, const TreePrompts& prompts, std::span<const int64_t> rows,
                                   const AttentionSpec& spec) {
  std::vector<Tensor> outputs;
  const auto starts = rows.empty() ? prompts.starts : row_starts(prompts, rows);
  for (int64_t u = 0; u + 1 < std::ssize(prompts.starts); ++u) {
    const int64_t begin = prompts.starts[u], end = prompts.starts[u + 1];
    for (int64_t i = starts[u]; i < starts[u + 1]; ++i) {
      const int64_t last = !spec.causal ? end : rows.empty() ? i + 1 : rows[i] + 1;
      outputs.push_back(reference::attention(q.slice(0, i, i + 1), prompts.keys.slice(0, begin, last),
                                             prompts.values.slice(0, begin, last), spec));
    }
  }
  return at::cat(outputs);
}

Tensor reference::branch_attention(const Tensor& q, const TreePrompts& prompts, const TreeBranches& branches,
                                   const AttentionSpec& spec) {
  std::vector<Tensor> outputs;
  const size_t depth = branches.keys.size();
  for (int64_t u = 0; u + 1 < std::ssize(prompts.starts); ++u) {
    const Tensor keys = prompts.keys.slice(0, prompts.starts[u], prompts.starts[u + 1]);
    const Tensor values = prompts.values.slice(0, prompts.starts[u], prompts.starts[u + 1]);
    for (int64_t i = branches.starts[u]; i < branches.starts[u + 1]; ++i) {
      const auto path = branches.paths.subspan(static_cast<size_t>(i) * depth, depth);
      outputs.push_back(reference::attention(q.slice(0, i, i + 1), joined(keys, branches.keys, path),
                                             joined(values, branches.values, path), spec));
    }
  }
  return at::cat(outputs);
}

TreePrompts pack_prompts(const Tensor& k, const Tensor& v, std::vector<int64_t> starts) {
  check(k.dim() == 3 && k.sizes() == v.sizes() && !starts.empty() && starts.back() == k.size(0), ErrorCode::internal,
        "pack_prompts: keys and values [T, K, D] of all prompts are expected");
  TreePrompts prompts{.starts = std::move(starts), .kv_heads = k.size(1), .width = k.size(2)};
  if (!has_kernel(k)) {
    prompts.keys = k;
    prompts.values = v;
    return prompts;
  }
  // Of whatever layout, as long as the features of a head lie together: a cache's pages come head by head.
  const bool together = k.stride(2) == 1 && v.stride(2) == 1 && k.strides() == v.strides();
  const Tensor keys = together ? k : k.contiguous(), values = together ? v : v.contiguous();
  constexpr int64_t kTokens = 4 * kernels::kTreeTokens;  // of a job: a single long prompt keeps all threads busy
  struct Job {
    int64_t prompt, head, first;
  };
  std::vector<Job> jobs;
  int64_t room = 0;
  for (int64_t u = 0; u + 1 < std::ssize(prompts.starts); ++u) {
    prompts.packed_starts.push_back(room);
    room += kernels::tree_stride(prompts.tokens(u));
    for (int64_t h = 0; h < prompts.kv_heads; ++h) {
      for (int64_t first = 0; first < prompts.tokens(u); first += kTokens) jobs.push_back({u, h, first});
    }
  }
  const int64_t heads = prompts.kv_heads, width = prompts.width, padded = kernels::tree_width(width);
  prompts.packed_keys = at::empty({room * heads * width}, at::kFloat);
  prompts.packed_values = at::empty({k.size(0) * heads * padded}, at::kFloat);
  float *to_keys = prompts.packed_keys.mutable_data_ptr<float>(),
        *to_values = prompts.packed_values.mutable_data_ptr<float>();
  const int64_t stride = keys.stride(0);
  const auto pack = [&](const auto& kernel, const auto* from_keys, const auto* from_values, const Job& job) {
    const int64_t tokens = prompts.tokens(job.prompt), first = prompts.starts[job.prompt], h = job.head;
    const int64_t from = (first + job.first) * stride + h * keys.stride(1);
    kernel(from_keys + from, from_values + from, std::min(kTokens, tokens - job.first), stride, width,
           to_keys + (prompts.packed_starts[job.prompt] * heads + h * kernels::tree_stride(tokens) + job.first) * width,
           to_values + (first * heads + h * tokens + job.first) * padded);
  };
  parallel_rows(std::ssize(jobs), std::min(kTokens, k.size(0)) * width, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (k.scalar_type() == at::kFloat) {
        pack(kernels::tree_table().pack_f32, keys.const_data_ptr<float>(), values.const_data_ptr<float>(), jobs[i]);
      } else {
        pack(kernels::tree_table().pack_bf16, bf16_data(keys), bf16_data(values), jobs[i]);
      }
    }
  });
  return prompts;
}

Tensor prompt_attention(const Tensor& q, const TreePrompts& prompts, std::span<const int64_t> rows,
                        const AttentionSpec& spec) {
  check_call(q, prompts, rows.empty() ? prompts.starts.back() : std::ssize(rows), spec);
  if (!prompts.packed_keys.defined()) return reference::prompt_attention(q, prompts, rows, spec);
  const auto starts = rows.empty() ? prompts.starts : row_starts(prompts, rows);
  std::vector<int64_t> visible;
  for (int64_t u = 0; u + 1 < std::ssize(starts); ++u) {
    for (int64_t i = starts[u]; i < starts[u + 1]; ++i) {
      const int64_t row = rows.empty() ? i : rows[i];
      visible.push_back(spec.causal ? row - prompts.starts[u] + 1 : prompts.tokens(u));
    }
  }
  return run_kernel(q, {.prompts = prompts, .starts = starts, .visible = visible}, spec);
}

Tensor branch_attention(const Tensor& q, const TreePrompts& prompts, const TreeBranches& branches,
                        const AttentionSpec& spec) {
  check_call(q, prompts, branches.starts.back(), spec);
  if (!prompts.packed_keys.defined()) return reference::branch_attention(q, prompts, branches, spec);
  std::vector<int64_t> visible;
  for (int64_t u = 0; u + 1 < std::ssize(branches.starts); ++u)
    visible.resize(static_cast<size_t>(branches.starts[u + 1]), prompts.tokens(u));
  return run_kernel(q, {.prompts = prompts, .starts = branches.starts, .visible = visible, .branches = &branches},
                    spec);
}

}  // namespace caravan::ops
