// The kernels of the running machine: one table of function pointers, filled once.
//
//   kernels::table().rms_norm_f32(x, w, y, rows, width, eps);
//
// bodies.isa.cc is compiled once per instruction set; the best one that both the CPU and the operating system allow is
// taken, or the one that the environment variable CARAVAN_ISA names (portable, avx2, avx512). Kernels are pure
// functions on raw pointers: no allocation, no threads, no checks. Callers split the work (rows, heads) over threads.
#pragma once

#include <stdint.h>

#include "caravan/kernels/packed.h"

namespace caravan::kernels {

using bf16 = uint16_t;  // the upper half of a float

// Bytes that a thread will read soon, from `at` on: asked for while it computes or waits, so that the memory does not
// rest.
struct Ahead {
  const char* at = nullptr;
  const char* end = nullptr;
};

// Asks for the next lines of them, and moves `at`. (static: each instruction set's object has its own.)
[[maybe_unused]] static inline void look_ahead(Ahead* ahead, int64_t lines) {
  constexpr int64_t kLine = 64;
  if (ahead == nullptr) return;
  for (; lines > 0 && ahead->at < ahead->end; --lines, ahead->at += kLine) __builtin_prefetch(ahead->at);
}

// Attention of one key-value head's G query heads over one sequence's pages, softmax(scale q k^T) v.
struct PagedHead {
  const void* queries;      // [G, D], contiguous
  void* output;             // [G, D], contiguous
  const void* const* keys;  // per page: [P] rows of this head, of the cache's type
  const void* const* values;
  int64_t group, width;  // G, D
  int64_t page_tokens;   // P
  int64_t first, last;   // attends to stored tokens [first, last)
  float scale;
  float* scores;           // scratch of (last - first) * G floats
  Ahead* ahead = nullptr;  // what to ask for meanwhile
};

// A row of a cache is D numbers; those of int8 are multiples of a scale, a float behind them.
inline constexpr int64_t kPagedScaleBytes = 4;

struct PagedTable {
  void (*attend_f32)(const PagedHead& head);       // queries, output and cache in fp32
  void (*attend_bf16)(const PagedHead& head);      // all in bf16
  void (*attend_f32_bf16)(const PagedHead& head);  // a cache in bf16 under queries in fp32
  void (*attend_f32_i8)(const PagedHead& head);
  void (*store_bf16)(const float* x, void* row, int64_t width);  // rounds a row into a cache
  void (*store_i8)(const float* x, void* row, int64_t width);
};

struct Table {
  const char* isa;
  // y = w * x / sqrt(mean(x^2) + eps) per row.
  void (*rms_norm_f32)(const float* x, const float* w, float* y, int64_t rows, int64_t width, float eps);
  void (*rms_norm_bf16)(const bf16* x, const bf16* w, bf16* y, int64_t rows, int64_t width, float eps);
  // One token's heads: pairs (i, i + R/2) of the first R features are rotated, the other width - R copied.
  void (*rotate_f32)(const float* x, const float* cos, const float* sin, float* y, int64_t heads, int64_t width,
                     int64_t rotary);
  void (*rotate_bf16)(const bf16* x, const bf16* cos, const bf16* sin, bf16* y, int64_t heads, int64_t width,
                      int64_t rotary);
  // y = silu(gate) * up.
  void (*swiglu_f32)(const float* gate, const float* up, float* y, int64_t n);
  void (*swiglu_bf16)(const bf16* gate, const bf16* up, bf16* y, int64_t n);
  // Gradients, for training. With r = 1 / sqrt(mean(x^2) + eps): dx = r (g w) - x r^3 mean(g w x); dw += g x r, in
  // fp32.
  void (*rms_norm_backward_f32)(const float* x, const float* w, const float* g, float* dx, float* dw, int64_t rows,
                                int64_t width, float eps);
  void (*rms_norm_backward_bf16)(const bf16* x, const bf16* w, const bf16* g, bf16* dx, float* dw, int64_t rows,
                                 int64_t width, float eps);
  // With s = 1 / (1 + exp(-gate)): d_up = g gate s, d_gate = g up s (1 + gate (1 - s)).
  void (*swiglu_backward_f32)(const float* gate, const float* up, const float* g, float* d_gate, float* d_up,
                              int64_t n);
  void (*swiglu_backward_bf16)(const bf16* gate, const bf16* up, const bf16* g, bf16* d_gate, bf16* d_up, int64_t n);
  // Returns the sum over rows of the cross entropy against (1 - smoothing) one_hot(target) + smoothing / classes, and
  // turns the logits [rows, classes] into its gradient in place where `gradient`. Targets lie in [0, classes).
  double (*cross_entropy_f32)(float* logits, const int64_t* targets, int64_t rows, int64_t classes, float smoothing,
                              bool gradient);
  double (*cross_entropy_bf16)(bf16* logits, const int64_t* targets, int64_t rows, int64_t classes, float smoothing,
                               bool gradient);
  // Rows [begin, end) of y = W x for a few input rows: W [.., width], x [m, width], y [m, stride].
  void (*gemv_bf16)(const bf16* w, const bf16* x, bf16* y, int64_t begin, int64_t end, int64_t width, int64_t m,
                    int64_t stride);
  // The place of the largest of n > 0 numbers, the first of equals; of the first NaN where there is one.
  int64_t (*argmax)(const float* x, int64_t n);
  uint64_t (*sum_words)(const uint64_t* words, int64_t n);  // reads n words: what measures the memory's bandwidth
  const PackedTable* packed;                                // of the same instruction set
  const PagedTable* paged;
};

const Table& table();

}  // namespace caravan::kernels
