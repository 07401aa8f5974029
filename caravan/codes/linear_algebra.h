// Dense and sparse products, factorizations and random numbers that give the same bits for every number of threads.
//
//   Tensor y = product(a, b);                                  // [N, K] x [K, M]
//   Svd svd = truncated_svd(counts, {.rank = 64, .seed = 1});   // of a SparseMatrix
//
// How: matrices are cut into tiles of fixed height and every tile is one single-threaded GEMM, whoever computes it;
// LAPACK runs on one thread. Truncated SVD: Halko, Martinsson & Tropp 2011 (randomized range finder with power
// iterations), the method of scikit-learn's TruncatedSVD. CPU, fp32. Left out: exact sparse SVD (Lanczos).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <random>
#include <utility>
#include <vector>

namespace caravan::codes {

using at::Tensor;

// What long work calls again and again, on the thread that began it; may throw to stop the work.
using Poll = std::function<void()>;

// Compressed sparse rows.
struct SparseMatrix {
  int64_t rows = 0, columns = 0;
  std::vector<int64_t> starts = {0};  // [rows + 1]
  std::vector<int32_t> indices;       // column of each entry, ascending in a row
  std::vector<float> values;

  int64_t entries() const { return static_cast<int64_t>(indices.size()); }
  // Appends a row; its entries are sorted and equal columns summed.
  void append_row(std::vector<std::pair<int32_t, float>> row);
  SparseMatrix transposed() const;
  void normalize_rows();  // to Euclidean length 1; empty rows stay empty
};

Tensor product(const SparseMatrix& a, const Tensor& b, const Poll& poll = {});  // [N, M] x [M, K] -> [N, K]
Tensor product(const Tensor& a, const Tensor& b);                               // [N, M] x [M, K] -> [N, K], fp32

// Runs its scope on one libtorch thread.
class SingleThread {
 public:
  SingleThread();
  ~SingleThread();
  SingleThread(const SingleThread&) = delete;

 private:
  int before_;
};

// Uniform numbers from a seed, the same on every machine (std's distributions are not).
class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  double uniform() { return static_cast<double>(engine_() >> 11) * 0x1.0p-53; }  // [0, 1)
  uint64_t below(uint64_t n) { return static_cast<uint64_t>(uniform() * static_cast<double>(n)); }

 private:
  std::mt19937_64 engine_;
};

struct SvdOptions {
  int64_t rank = 64;
  int64_t oversample = 32, power_iterations = 6;
  uint64_t seed = 0;
  Poll poll = {};
};

struct Svd {
  Tensor left;           // U [N, R]
  Tensor singular;       // S [R], descending
  Tensor right;          // V [M, R]
  double explained = 0;  // |U S V^T|^2 / |A|^2
};

// A = U S V^T up to the rank, which is lowered to the smaller side of the matrix. Signs: the largest entry of every
// column of V is positive. Directions with a singular value of less than 1e-6 of the largest are zero in all three, and
// so are the rows of U that no direction describes (empty rows of A): no noise is left to be taken for a signal.
Svd truncated_svd(const SparseMatrix& a, const SvdOptions& options);

}  // namespace caravan::codes
