// Compiled with OpenMP, unlike the rest (CMakeLists.txt): the regions run in libtorch's own pool of threads.
#include "caravan/ops/threads.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#if !defined(INTRA_OP_PARALLEL)
#error "at::parallel_for has no threads here"
#endif

namespace caravan::ops {

void parallel_pieces(int64_t rows, int64_t grain, const std::function<void(int64_t, int64_t)>& f) {
  at::parallel_for(0, rows, grain, f);
}

bool needs_gradient(std::initializer_list<Tensor> tensors) {
  if (!at::GradMode::is_enabled()) return false;
  return std::any_of(tensors.begin(), tensors.end(), [](const Tensor& t) { return t.defined() && t.requires_grad(); });
}

}  // namespace caravan::ops
