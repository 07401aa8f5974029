// What the ops with kernels share: splitting rows over libtorch's threads, raw bf16 access, whether autograd is
// watching.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <initializer_list>
#include <memory>
#include <utility>

#include "caravan/kernels/table.h"

namespace caravan::ops {

using at::Tensor;

// Calls f(begin, end) over [0, rows), in pieces of at least `grain` rows, on libtorch's threads. What f throws comes
// out. Not at::parallel_for itself: its body stands in a header and runs on one thread wherever OpenMP is not compiled
// in.
void parallel_pieces(int64_t rows, int64_t grain, const std::function<void(int64_t, int64_t)>& f);

// The same for rows of so much work; small work stays on this thread.
template <class F>
void parallel_rows(int64_t rows, int64_t work_per_row, const F& f) {
  // Below about 32k elements a fork-join costs more than it saves.
  constexpr int64_t kGrain = 1 << 15;
  if (rows <= 1 || rows * work_per_row < 2 * kGrain) {
    if (rows > 0) f(int64_t{0}, rows);
    return;
  }
  parallel_pieces(rows, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, work_per_row)), std::cref(f));
}

// One thread of a team that runs the same function: `index` of `count`.
class Team {
 public:
  Team(int index, int count, std::atomic<int>& arrived) : index(index), count(count), arrived_(arrived) {}
  // Returns when all have come; meanwhile asks for what this thread reads next.
  void barrier(kernels::Ahead ahead = {});
  // This thread's share [begin, end) of [0, n).
  std::pair<int64_t, int64_t> share(int64_t n) const { return {n * index / count, n * (index + 1) / count}; }
  const int index, count;

 private:
  std::atomic<int>& arrived_;  // how many have come to barriers so far
  int expected_ = 0;
};

// Tasks of one stage of a team. Each thread has a part of its own and begins with most of it; what is left goes to
// whoever is free, piece by piece: cores read memory at different speeds, and all wait for the last one. Few pieces,
// since each is taken by an atomic operation, which waits for everything that is on its way. What a task computes must
// not depend on who runs it.
class SharedTasks {
 public:
  // For `count` tasks; by one thread, before the team begins.
  void prepare(int64_t count, int threads);
  int64_t first(int thread) const { return thread * count_ / threads_; }  // where a thread begins

  template <class F>
  void take(const Team& team, const F& f) {                                        // f(begin, end)
    for (int own = team.index; own < threads_; own += team.count) run(own, 0, f);  // OpenMP may have sent fewer threads
    for (int i = 0; i < threads_; ++i) {
      const int whose = (team.index + i) % threads_;
      std::atomic<int>& next = parts_[static_cast<size_t>(whose)].next;
      while (next.load(std::memory_order_relaxed) < pieces_) {
        const int piece = next.fetch_add(1, std::memory_order_relaxed);
        if (piece < pieces_) run(whose, piece, f);
      }
    }
  }

 private:
  template <class F>
  void run(int whose, int piece, const F& f) const {
    const int64_t begin = first(whose), count = first(whose + 1) - begin;
    const int64_t from = begin + before(piece, count), to = begin + before(piece + 1, count);
    if (from < to) f(from, to);
  }
  // Of `count` tasks of a part: the first piece has five eighths, the others share the rest.
  int64_t before(int piece, int64_t count) const {
    const int64_t others = pieces_ - 1;
    return piece == 0 ? 0 : count * (5 * others + 3 * (piece - 1)) / (8 * others);
  }

  struct alignas(64) Part {
    std::atomic<int> next{1};  // piece; the first is the thread's own
  };
  int64_t count_ = 0;
  int threads_ = 0, pieces_ = 0, room_ = 0;
  std::unique_ptr<Part[]> parts_;
};

// Runs f on every one of libtorch's threads at once; on this one alone inside another parallel region. For stages that
// are too short for a fork-join each: a barrier of threads that spin costs a tenth of one. f must not throw.
int team_size();
void parallel_team(const std::function<void(Team&)>& f);

// As parallel_rows, for tasks that weigh the same and must not throw: a thread that is done goes on with what others
// have not begun.
template <class F>
void parallel_tasks(int64_t tasks, int64_t work_per_task, const F& f) {
  constexpr int64_t kSmall = 1 << 16;
  if (tasks <= 1 || tasks * work_per_task < kSmall || team_size() == 1) {
    if (tasks > 0) f(int64_t{0}, tasks);
    return;
  }
  SharedTasks shared;
  shared.prepare(tasks, team_size());
  parallel_team([&](Team& team) { shared.take(team, f); });
}

inline const kernels::bf16* bf16_data(const Tensor& t) {
  return reinterpret_cast<const kernels::bf16*>(t.const_data_ptr<at::BFloat16>());
}
inline kernels::bf16* mutable_bf16_data(const Tensor& t) {
  return reinterpret_cast<kernels::bf16*>(t.mutable_data_ptr<at::BFloat16>());
}

// Whether the result of an op on these tensors must be differentiable.
bool needs_gradient(std::initializer_list<Tensor> tensors);

}  // namespace caravan::ops
