#include "caravan/codes/linear_algebra.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>

#include "caravan/base/error.h"
#include "caravan/ops/threads.h"

namespace caravan::codes {
namespace {

// Rows of a tile: large enough for a GEMM at full speed, small enough to share among threads.
constexpr int64_t kTile = 512;

constexpr int64_t kPolledRows = 1 << 15;  // of a sparse product, between two calls of a Poll

// Q of the reduced QR factorization, on one thread.
Tensor orthonormal(const Tensor& a) {
  const SingleThread single;
  return std::get<0>(at::linalg_qr(a, "reduced"));
}

// What rounding leaves of a zero: singular values beside the largest, and rows of a matrix with orthonormal columns.
constexpr double kNoise = 1e-6;

// Directions beyond the matrix's own rank, and rows that have no share in any direction, come out of the factorization
// as noise, which whoever scales rows to length 1 would take for a signal: they become zeros. Rows without entries are
// cleared whatever they hold, as the basis of a direction beyond the rank may consist of them alone.
void clear_noise(Svd& svd, const SparseMatrix& a) {
  const Tensor real = svd.singular > kNoise * svd.singular.max();  // [R]
  svd.singular = at::where(real, svd.singular, 0.0f);
  svd.left = at::where(real, svd.left, 0.0f);
  svd.right = at::where(real, svd.right, 0.0f);
  const Tensor entries = at::tensor(a.starts, at::kLong).diff();  // [N]
  const Tensor seen = (entries > 0).logical_and(svd.left.norm(2, 1) > kNoise);
  svd.left = at::where(seen.unsqueeze(1), svd.left, 0.0f).contiguous();
}

double squared_norm(const SparseMatrix& a) {
  double sum = 0;
  for (float v : a.values) sum += static_cast<double>(v) * v;
  return sum;
}

}  // namespace

void SparseMatrix::append_row(std::vector<std::pair<int32_t, float>> row) {
  std::stable_sort(row.begin(), row.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  const size_t begin = indices.size();
  for (const auto& [column, value] : row) {
    if (indices.size() > begin && indices.back() == column) {
      values.back() += value;
    } else {
      indices.push_back(column);
      values.push_back(value);
    }
  }
  starts.push_back(entries());
  ++rows;
}

SparseMatrix SparseMatrix::transposed() const {
  SparseMatrix t;
  t.rows = columns;
  t.columns = rows;
  t.starts.assign(columns + 1, 0);
  for (int32_t column : indices) ++t.starts[column + 1];
  for (int64_t i = 0; i < columns; ++i) t.starts[i + 1] += t.starts[i];
  t.indices.resize(indices.size());
  t.values.resize(values.size());
  std::vector<int64_t> next(t.starts.begin(), t.starts.end() - 1);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t e = starts[row]; e < starts[row + 1]; ++e) {
      const int64_t at = next[indices[e]]++;
      t.indices[at] = static_cast<int32_t>(row);
      t.values[at] = values[e];
    }
  }
  return t;
}

void SparseMatrix::normalize_rows() {
  for (int64_t row = 0; row < rows; ++row) {
    double sum = 0;
    for (int64_t e = starts[row]; e < starts[row + 1]; ++e) sum += static_cast<double>(values[e]) * values[e];
    if (sum == 0) continue;
    const double scale = 1.0 / std::sqrt(sum);
    for (int64_t e = starts[row]; e < starts[row + 1]; ++e) values[e] = static_cast<float>(values[e] * scale);
  }
}

Tensor product(const SparseMatrix& a, const Tensor& b, const Poll& poll) {
  check(b.dim() == 2 && b.size(0) == a.columns && b.scalar_type() == at::kFloat, ErrorCode::internal,
        "sparse product: [{}, {}] x [{}, ...]", a.rows, a.columns, b.size(0));
  const Tensor dense = b.contiguous();
  const int64_t width = b.size(1);
  Tensor out = at::zeros({a.rows, width}, at::kFloat);
  const float* from = dense.const_data_ptr<float>();
  float* to = out.mutable_data_ptr<float>();
  const auto multiply = [&](int64_t row) {
    float* sum = to + row * width;
    for (int64_t e = a.starts[row]; e < a.starts[row + 1]; ++e) {
      const float* line = from + static_cast<int64_t>(a.indices[e]) * width;
      const float value = a.values[e];
      for (int64_t j = 0; j < width; ++j) sum[j] += value * line[j];
    }
  };
  for (int64_t first = 0; first < a.rows; first += kPolledRows) {
    if (poll) poll();
    ops::parallel_pieces(std::min(kPolledRows, a.rows - first), 256, [&](int64_t begin, int64_t end) {
      for (int64_t row = first + begin; row < first + end; ++row) multiply(row);
    });
  }
  return out;
}

Tensor product(const Tensor& left, const Tensor& right) {
  const Tensor a = left.detach(), b = right.detach();  // worker threads have a gradient mode of their own
  Tensor out = at::empty({a.size(0), b.size(1)}, a.options());
  const int64_t tiles = (a.size(0) + kTile - 1) / kTile;
  if (tiles <= 1) {
    const SingleThread single;
    at::mm_out(out, a, b);
    return out;
  }
  ops::parallel_pieces(tiles, 1, [&](int64_t begin, int64_t end) {  // a GEMM inside runs on its thread alone
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t first = tile * kTile, last = std::min(first + kTile, a.size(0));
      Tensor part = out.slice(0, first, last);
      at::mm_out(part, a.slice(0, first, last), b);
    }
  });
  return out;
}

SingleThread::SingleThread() : before_(at::get_num_threads()) {
  if (before_ > 1 && !at::in_parallel_region()) at::set_num_threads(1);
}

SingleThread::~SingleThread() {
  if (before_ > 1 && !at::in_parallel_region()) at::set_num_threads(before_);
}

Svd truncated_svd(const SparseMatrix& a, const SvdOptions& options) {
  const int64_t limit = std::min(a.rows, a.columns);
  check(options.rank > 0 && limit > 0, ErrorCode::invalid_argument,
        "truncated SVD of rank {} of a [{}, {}] matrix: nothing to factorize", options.rank, a.rows, a.columns);
  const int64_t rank = std::min(options.rank, limit), width = std::min(rank + options.oversample, limit);
  const SparseMatrix transposed = a.transposed();
  const torch::NoGradGuard no_grad;
  at::Generator generator = at::detail::createCPUGenerator(options.seed);
  Tensor right = at::randn({a.columns, width}, generator, at::kFloat);
  Tensor left = orthonormal(product(a, right, options.poll));  // [N, W]
  for (int64_t i = 0; i < options.power_iterations; ++i) {
    right = orthonormal(product(transposed, left, options.poll));
    left = orthonormal(product(a, right, options.poll));
  }
  // A ~ Q Q^T A; the small factor's SVD turns Q into U. [M, W] = A^T Q = V S W^T
  const SingleThread single;
  const auto [v, s, w] = at::linalg_svd(product(transposed, left, options.poll), /*full_matrices=*/false);
  Svd svd;
  svd.singular = s.slice(0, 0, rank).contiguous();
  svd.right = v.slice(1, 0, rank).contiguous();
  svd.left = at::matmul(left, w.transpose(0, 1).slice(1, 0, rank));
  const Tensor largest = svd.right.gather(0, svd.right.abs().argmax(0, /*keepdim=*/true));  // [1, R]
  const Tensor sign = at::where(largest < 0, -1.0, 1.0).to(at::kFloat);
  svd.right = svd.right * sign;
  svd.left = svd.left * sign;
  clear_noise(svd, a);
  const double total = squared_norm(a);
  svd.explained = total > 0 ? svd.singular.to(at::kDouble).square().sum().item<double>() / total : 0.0;
  return svd;
}

}  // namespace caravan::codes
