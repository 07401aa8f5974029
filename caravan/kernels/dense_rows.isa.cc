// Products with dense weights (dense_rows.h). Compiled once per instruction set; CARAVAN_ROWS names the table.
//
// A block of R rows and M inputs keeps its R x M sums in registers and loads each vector of either once; sums are added
// up across lanes at the end, four rows at a time.
#include "caravan/kernels/dense_rows.h"

#include <string.h>

#include "caravan/kernels/half.h"
#include "caravan/kernels/numbers.h"
#include "caravan/kernels/quads.h"
#include "caravan/kernels/sixteen.h"

namespace caravan::kernels {
namespace {

#if defined(__AVX512F__)
constexpr int kRows = 4, kMostInputRows = 6;  // 24 sums, 4 vectors of weights, 1 of an input: of 32 registers
#elif defined(__AVX2__)
constexpr int kRows = 2, kMostInputRows = 2;  // 8 sums, 4, 2: of 16 registers, two a vector
#else
constexpr int kRows = 1, kMostInputRows = 1;
#endif

// How numbers are loaded and multiplied, `kStep` at a time.
struct F32 {
  using Weight = float;
  using Input = float;
  using Vector = Floats;
  static constexpr int kStep = 16;
  static Vector weights(const Weight* w) { return load(w); }
  static Vector inputs(const Input* x) { return load(x); }
  static Floats add_product(const Vector& w, const Vector& x, const Floats& sum) { return multiply_add(w, x, sum); }
};

struct F16 : F32 {
  using Weight = uint16_t;
  static Vector weights(const Weight* w) { return load_halves(reinterpret_cast<const uint8_t*>(w)); }
};

struct Bf16 {
  using Weight = uint16_t;
  using Input = uint16_t;
#if defined(__AVX512BF16__)
  using Vector = __m512bh;
  static constexpr int kStep = 32;
  static Vector weights(const Weight* w) { return reinterpret_cast<__m512bh>(_mm512_loadu_si512(w)); }
  static Floats add_product(const Vector& w, const Vector& x, const Floats& sum) { return _mm512_dpbf16_ps(sum, x, w); }
#else
  using Vector = Floats;
  static constexpr int kStep = 16;
  static Vector weights(const Weight* w) { return from_bf16(w); }
  static Floats add_product(const Vector& w, const Vector& x, const Floats& sum) { return multiply_add(w, x, sum); }
#endif
  static Vector inputs(const Input* x) { return weights(x); }
};

// A piece of the product: `depth` columns of R rows and M inputs, y = or += their sums.
struct Piece {
  int64_t depth, width, stride;
  int64_t next;  // bytes from a row to the one that the same place of the next block has
  bool add;
};

// What will be read soon is asked for: a core's own prefetching ends at every page and every change of rows.
constexpr int64_t kAhead = 8192;  // bytes; as in packed.isa.cc

template <class T, int R, int M>
void multiply_block(const typename T::Weight* w, const typename T::Input* x, float* y, const Piece& p) {
  const int64_t ahead = R > 1 ? p.next : kAhead;
  Floats sums[M][R];
  for (auto& row : sums) {
    for (Floats& sum : row) sum = zeros();
  }
  const auto add_step = [&](const typename T::Weight* from, int64_t w_stride, const typename T::Input* input,
                            int64_t x_stride) __attribute__((always_inline)) {
    typename T::Vector rows[R];
    for (int r = 0; r < R; ++r) rows[r] = T::weights(from + r * w_stride);
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) {
      const typename T::Vector v = T::inputs(input + i * x_stride);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) sums[i][r] = T::add_product(rows[r], v, sums[i][r]);
    }
  };
  const int64_t even = p.depth - p.depth % T::kStep;
  for (int64_t k = 0; k < even; k += T::kStep) {
    for (int r = 0; r < R; ++r) __builtin_prefetch(reinterpret_cast<const char*>(w + r * p.width + k) + ahead);
    add_step(w + k, p.width, x + k, p.depth);
  }
  if (const int64_t rest = p.depth - even; rest > 0) {
    typename T::Weight last_weights[R * T::kStep] = {};
    typename T::Input last_inputs[M * T::kStep] = {};
    const auto n = static_cast<size_t>(rest);
    for (int r = 0; r < R; ++r) memcpy(last_weights + r * T::kStep, w + r * p.width + even, n * sizeof *w);
    for (int i = 0; i < M; ++i) memcpy(last_inputs + i * T::kStep, x + i * p.depth + even, n * sizeof *x);
    add_step(last_weights, T::kStep, last_inputs, T::kStep);
  }
  for (int i = 0; i < M; ++i) {
    float* to = y + i * p.stride;
    if (p.add) {
      float more[R];
      add_lanes<R>(sums[i], more);
      for (int r = 0; r < R; ++r) to[r] += more[r];
    } else {
      add_lanes<R>(sums[i], to);
    }
  }
}

template <class T, int R, int M>
void multiply_inputs(const typename T::Weight* w, const typename T::Input* x, float* y, const Piece& p, int64_t m) {
  for (; m >= M; m -= M, x += M * p.depth, y += M * p.stride) multiply_block<T, R, M>(w, x, y, p);
  if constexpr (M > 1) {
    if (m > 0) multiply_inputs<T, R, M - 1>(w, x, y, p, m);
  }
}

// Many inputs: columns in pieces and inputs in chunks, so that both stay in the first-level cache while a strip of
// rows, which stays in the second, passes by: a block reads six vectors of inputs for four of weights. Some inputs:
// weights come from memory and meet all of them at once. Few: row after row, as the weights lie in memory.
template <class T>
void multiply_rows(const typename T::Weight* w, const typename T::Input* x, float* y, const DenseRows& s) {
  constexpr int64_t kDepth = kPieceBytes / static_cast<int64_t>(sizeof *x), kChunkBytes = 20 << 10;
  constexpr int64_t kStripBytes = 384 << 10;
  constexpr int64_t kStreamed = 1;  // inputs for which one row at a time comes fastest from memory
  constexpr int64_t kSome = 32;
  const auto fitting = [](int64_t bytes, int64_t each, int64_t block) {
    const int64_t n = bytes / (each + 1) / block * block;
    return n > block ? n : block;
  };
  const int64_t deepest = s.width < kDepth ? s.width : kDepth;
  const int64_t chunk =
      s.inputs <= kSome ? kSome : fitting(kChunkBytes, deepest * static_cast<int64_t>(sizeof *x), kMostInputRows);
  const int64_t strip = s.inputs <= kStreamed ? 1  // a row's pieces one after another
                        : s.inputs <= kMostInputRows
                            ? kRows
                            : fitting(kStripBytes, s.width * static_cast<int64_t>(sizeof *w), kRows);
  constexpr int64_t kNear = 16384;
  const int64_t block_bytes = kRows * s.width * static_cast<int64_t>(sizeof *w);
  const int64_t streamed = s.inputs > kMostInputRows || block_bytes < kNear ? block_bytes : kAhead;
  const int64_t next = s.inputs > kSome ? 0 : streamed;  // from the second level they come by themselves
  for (int64_t begin = s.begin; begin < s.end; begin += strip) {
    const int64_t end = s.end - begin < strip ? s.end : begin + strip;
    for (int64_t k = 0; k == 0 || k < s.width; k += kDepth) {
      const int64_t depth = s.width - k < kDepth ? s.width - k : kDepth;
      const Piece piece{depth, s.width, s.stride, next, k > 0};
      for (int64_t first = 0; first < s.inputs; first += chunk) {
        const int64_t m = s.inputs - first < chunk ? s.inputs - first : chunk;
        const typename T::Input* from = x + s.inputs * k + first * depth;
        float* to = y + first * s.stride;
        int64_t r = begin;
        for (; s.inputs > kStreamed && r + kRows <= end; r += kRows)
          multiply_inputs<T, kRows, kMostInputRows>(w + r * s.width + k, from, to + r, piece, m);
        for (; r < end; ++r) multiply_inputs<T, 1, kMostInputRows>(w + r * s.width + k, from, to + r, piece, m);
      }
    }
  }
}

template <class To>
void split(const float* x, To* to, const SplitShape& s) {
  constexpr int64_t kDepth = kPieceBytes / static_cast<int64_t>(sizeof *to);
  for (int64_t k = 0; k < s.width; k += kDepth) {
    const int64_t depth = s.width - k < kDepth ? s.width - k : kDepth;
    for (int64_t i = s.first; i < s.last; ++i) {
      const float* from = x + i * s.width + k;
      To* piece = to + s.inputs * k + i * depth;
      for (int64_t j = 0; j < depth; ++j) store(from[j], piece + j);
    }
  }
}

}  // namespace

extern const DenseRowsTable CARAVAN_ROWS;
const DenseRowsTable CARAVAN_ROWS = {multiply_rows<F32>, multiply_rows<F16>, multiply_rows<Bf16>, split<float>,
                                     split<uint16_t>};

}  // namespace caravan::kernels
