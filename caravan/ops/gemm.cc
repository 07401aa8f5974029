#include "caravan/ops/gemm.h"

#include <torch/torch.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "caravan/base/error.h"
#include "caravan/kernels/panel_gemm.h"
#include "caravan/ops/threads.h"

namespace caravan::ops {
namespace {

bool forced = false;

bool is_wanted() {
  static const bool wanted = std::strcmp(kernels::table().isa, "avx512") == 0 && !kernels::is_intel() && at::hasMKL();
  return wanted || forced;
}

// Row by row, rows possibly apart.
bool is_row_major(const Tensor& t) {
  return t.device().is_cpu() && t.scalar_type() == at::kFloat && t.dim() == 2 && t.stride(1) == 1 && t.numel() > 0 &&
         t.stride(0) >= t.size(1);
}

// A handful of rows is not worth a repacked weight.
constexpr int64_t kFewestRows = 24;

bool is_ours(const Tensor& a, const Tensor& b) {
  return is_wanted() && is_row_major(a) && is_row_major(b) && a.size(0) >= kFewestRows;
}

float* scratch() {
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  thread_local std::unique_ptr<float, Free> memory;
  if (!memory) {
    memory.reset(static_cast<float*>(std::aligned_alloc(64, kernels::kGemmScratch * sizeof(float))));
    check(memory != nullptr, ErrorCode::out_of_memory, "no memory for a matrix product's workspace");
  }
  return memory.get();
}

// C [rows, columns] in as many parts as there are threads: columns first, since each part repacks its columns of B.
void run(kernels::Gemm gemm, int64_t rows, int64_t columns) {
  constexpr int64_t kColumns = 128, kRows = 96, kLeastWork = 1 << 18;
  const int64_t threads = rows * columns * gemm.depth < 2 * kLeastWork ? 1 : at::get_num_threads();
  const int64_t across = std::clamp<int64_t>((columns + kColumns - 1) / kColumns, 1, threads);
  const int64_t down = std::clamp<int64_t>((rows + kRows - 1) / kRows, 1, threads / across);
  const auto share = [](int64_t n, int64_t part, int64_t parts, int64_t unit) {
    const int64_t units = (n + unit - 1) / unit;
    return std::min(n, units * part / parts * unit);
  };
  const auto multiply = kernels::panel_table().gemm;
  parallel_pieces(across * down, 1, [&](int64_t begin, int64_t end) {
    kernels::Gemm part = gemm;
    part.scratch = scratch();
    for (int64_t task = begin; task < end; ++task) {
      const int64_t i = task / across, j = task % across;
      part.first_row = share(rows, i, down, 12);
      part.last_row = share(rows, i + 1, down, 12);
      part.first_column = share(columns, j, across, kernels::kPanelRows);
      part.last_column = share(columns, j + 1, across, kernels::kPanelRows);
      multiply(part);
    }
  });
}

kernels::Gemm operands(const Tensor& a, bool a_transposed, const Tensor& b, bool b_transposed, Tensor& c, bool add) {
  return {.a = a.const_data_ptr<float>(),
          .a_stride = a.stride(0),
          .a_transposed = a_transposed,
          .b = b.const_data_ptr<float>(),
          .b_stride = b.stride(0),
          .b_transposed = b_transposed,
          .c = c.mutable_data_ptr<float>(),
          .c_stride = c.stride(0),
          .depth = a.size(a_transposed ? 0 : 1),
          .add = add};
}

struct DenseLinear : torch::autograd::Function<DenseLinear> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x, const Tensor& weight) {
    context->save_for_backward({x, weight});
    return product_nt(x, weight);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    check(!at::GradMode::is_enabled(), ErrorCode::unsupported, "dense_linear: a gradient of the gradient");
    const auto saved = context->get_saved_variables();
    const Tensor g = gradients[0].contiguous();
    Tensor dx, dw;
    if (context->needs_input_grad(0)) {
      dx = at::empty_like(saved[0]);
      product_nn_into(dx, g, saved[1]);
    }
    if (context->needs_input_grad(1)) {
      dw = at::zeros_like(saved[1]);
      add_product_tn(dw, g, saved[0]);
    }
    return {dx, dw};
  }
};

}  // namespace

bool has_own_gemm() { return is_wanted(); }
void force_own_gemm(bool on) { forced = on; }

Tensor product_nt(const Tensor& a, const Tensor& b) {
  if (!is_ours(a, b)) return at::mm(a, b.t());
  Tensor c = at::empty({a.size(0), b.size(0)}, a.options());
  run(operands(a, false, b, true, c, false), c.size(0), c.size(1));
  return c;
}

void product_nn_into(Tensor& c, const Tensor& a, const Tensor& b) {
  if (!is_ours(a, b) || !is_row_major(c)) {
    at::mm_out(c, a, b);
    return;
  }
  run(operands(a, false, b, false, c, false), c.size(0), c.size(1));
}

void add_product_nn(Tensor& c, const Tensor& a, const Tensor& b) {
  if (!is_ours(a, b) || !is_row_major(c)) {
    c.addmm_(a, b);
    return;
  }
  run(operands(a, false, b, false, c, true), c.size(0), c.size(1));
}

void add_product_tn(Tensor& c, const Tensor& a, const Tensor& b) {
  if (!is_ours(a, b) || !is_row_major(c)) {
    c.addmm_(a.t(), b);
    return;
  }
  run(operands(a, true, b, false, c, true), c.size(0), c.size(1));
}

Tensor dense_linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  if (is_wanted() && weight.dim() == 2 && x.dim() >= 1 && x.size(-1) == weight.size(1)) {
    const Tensor flat = x.reshape({-1, x.size(-1)}).contiguous(), w = weight.contiguous();
    if (is_ours(flat, w)) {
      auto sizes = x.sizes().vec();
      sizes.back() = weight.size(0);
      const Tensor y = DenseLinear::apply(flat, w).view(sizes);
      return bias.defined() ? y + bias : y;
    }
  }
  return at::linear(x, weight, bias.defined() ? std::optional<Tensor>(bias) : std::nullopt);
}

}  // namespace caravan::ops
