// Compiled with OpenMP, unlike the rest (CMakeLists.txt): the regions run in libtorch's own pool of threads.
#include "caravan/ops/threads.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <omp.h>

#include <thread>

#if !defined(INTRA_OP_PARALLEL)
#error "at::parallel_for has no threads here"
#endif

namespace caravan::ops {

void parallel_pieces(int64_t rows, int64_t grain, const std::function<void(int64_t, int64_t)>& f) {
  at::parallel_for(0, rows, grain, f);
}

void Team::barrier(kernels::Ahead ahead) {
  constexpr int kSpins = 20000;  // some tens of microseconds; then another thread may have this core
  expected_ += count;
  arrived_.fetch_add(1, std::memory_order_acq_rel);
  for (int spins = 0; arrived_.load(std::memory_order_acquire) < expected_; ++spins) {
    if (spins >= kSpins) std::this_thread::yield();
    kernels::look_ahead(&ahead, 1);
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
}

void SharedTasks::prepare(int64_t count, int threads) {
  if (threads > room_) parts_ = std::make_unique<Part[]>(static_cast<size_t>(threads)), room_ = threads;
  constexpr int64_t kMany = 256;  // tasks of a thread that are worth more pieces
  count_ = count;
  threads_ = threads;
  pieces_ = count < kMany * threads ? 4 : 13;
  for (int i = 0; i < threads; ++i) parts_[static_cast<size_t>(i)].next.store(1, std::memory_order_relaxed);
}

int team_size() { return at::in_parallel_region() ? 1 : at::get_num_threads(); }

void parallel_team(const std::function<void(Team&)>& f) {
  std::atomic<int> arrived{0};
  const int threads = team_size();
  if (threads == 1) {
    Team alone(0, 1, arrived);
    f(alone);
    return;
  }
#pragma omp parallel num_threads(threads)
  {
    Team team(omp_get_thread_num(), omp_get_num_threads(), arrived);
    f(team);
  }
}

bool needs_gradient(std::initializer_list<Tensor> tensors) {
  if (!at::GradMode::is_enabled()) return false;
  return std::any_of(tensors.begin(), tensors.end(), [](const Tensor& t) { return t.defined() && t.requires_grad(); });
}

}  // namespace caravan::ops
