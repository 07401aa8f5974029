#include "caravan/cli/bench_machine.h"

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <vector>

#include "caravan/base/error.h"
#include "caravan/kernels/table.h"
#include "caravan/ops/gemm.h"
#include "caravan/ops/linear.h"
#include "caravan/ops/threads.h"

namespace caravan::cli {
namespace {

using at::Tensor;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Multiply-adds a second, each counted as two operations; the best of some passes.
template <class F>
double rate(double multiply_adds, const F& pass) {
  double best = 0;
  for (int i = 0; i < 6; ++i) {
    const auto start = std::chrono::steady_clock::now();
    pass();
    best = std::max(best, 2 * multiply_adds / seconds_since(start));
  }
  return best;
}

double gemm_rate(at::ScalarType type) {
  constexpr int64_t kSize = 1024;
  const Tensor a = at::rand({kSize, kSize}).to(type), b = at::rand({kSize, kSize}).to(type);
  const double libtorch = rate(double(kSize) * kSize * kSize, [&] { at::mm(a, b.t()); });
  if (type != at::kFloat || !ops::has_own_gemm()) return libtorch;
  return std::max(libtorch, rate(double(kSize) * kSize * kSize, [&] { ops::product_nt(a, b); }));
}

double packed_rate() {
  constexpr int64_t kRows = 1024, kColumns = 1024, kInputs = 512;
  const Tensor blocks = at::zeros({kRows * kColumns / 32 * 34}, at::kByte), x = at::rand({kInputs, kColumns});
  ops::Weight weight{.value = blocks, .dtype = DType::q8_0, .rows = kRows, .columns = kColumns};
  weight.packed = ops::pack(weight);
  return rate(double(kRows) * kColumns * kInputs, [&] { ops::linear(x, weight, {}); });
}

}  // namespace

double multiply_rate(DType dtype) {
  const torch::InferenceMode guard;
  if (is_block_quantized(dtype)) return packed_rate();
  return gemm_rate(dtype == DType::bf16 ? at::kBFloat16 : at::kFloat);
}

double read_bandwidth(uint64_t bytes) {
  constexpr uint64_t kMost = uint64_t{1} << 30, kPass = uint64_t{1} << 26;
  const std::vector<uint64_t> words(std::min(bytes, kMost) / sizeof(uint64_t), 1);
  const auto n = static_cast<int64_t>(words.size());
  // Small buffers are read many times in a pass, so that starting the threads costs nothing.
  const auto repeats = static_cast<int64_t>(std::max<uint64_t>(1, kPass / std::max<uint64_t>(1, n * sizeof(uint64_t))));
  double best = 0;
  std::atomic<uint64_t> sum{0};  // so that the reading is not optimized away
  for (int pass = 0; pass < 12; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    ops::parallel_pieces(n, std::max<int64_t>(1, n / at::get_num_threads()), [&](int64_t begin, int64_t end) {
      for (int64_t i = 0; i < repeats; ++i) sum += kernels::table().sum_words(words.data() + begin, end - begin);
    });
    best = std::max(best, static_cast<double>(n * repeats) * sizeof(uint64_t) / seconds_since(start));
  }
  check(sum == 12 * static_cast<uint64_t>(n * repeats), ErrorCode::internal,
        "bench: the memory test read something else");
  return best;
}

Json measure_machine() {
  const torch::InferenceMode guard;
  Json bandwidth = Json::array(), rates = Json::array();
  for (int shift = 18; shift <= 30; shift += 2) {
    const uint64_t bytes = uint64_t{1} << shift;
    bandwidth.push_back({{"bytes", bytes}, {"gb_per_second", read_bandwidth(bytes) / 1e9}});
  }
  for (const DType dtype : {DType::f32, DType::bf16, DType::q8_0})
    rates.push_back({{"type", to_string(dtype)}, {"gflops", multiply_rate(dtype) / 1e9}});
  return {{"threads", at::get_num_threads()},
          {"instruction_set", kernels::table().isa},
          {"read_bandwidth", bandwidth},
          {"multiply_rate", rates}};
}

}  // namespace caravan::cli
