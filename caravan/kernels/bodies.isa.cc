// The bodies of all kernels, in plain loops. Compiled once per instruction set with that set's flags and with
// reassociation of sums allowed, so that the compiler vectorizes them; CARAVAN_TABLE names the resulting table.
// Everything but the table is local to the file: nothing compiled for a newer machine can be linked in by an older
// one's code.
#include <math.h>
#include <string.h>

#include "caravan/kernels/exponential.h"
#include "caravan/kernels/numbers.h"
#include "caravan/kernels/sixteen.h"
#include "caravan/kernels/table.h"

namespace caravan::kernels {
namespace {

template <class T>
void rms_norm(const T* x, const T* w, T* y, int64_t rows, int64_t width, float eps) {
  for (int64_t r = 0; r < rows; ++r, x += width, y += width) {
    float sum = 0.0f;
    for (int64_t i = 0; i < width; ++i) sum += load(x[i]) * load(x[i]);
    const float scale = 1.0f / sqrtf(sum / static_cast<float>(width) + eps);
    for (int64_t i = 0; i < width; ++i) store(load(w[i]) * rounded(load(x[i]) * scale, y), y + i);
  }
}

// One head's pairs (x0[i], x1[i]), i < half. Apart from the loop over heads, so that `restrict` lets it vectorize.
template <class T>
void rotate_head(const T* __restrict x0, const T* __restrict x1, const T* __restrict cos, const T* __restrict sin,
                 T* __restrict y0, T* __restrict y1, int64_t half) {
  for (int64_t i = 0; i < half; ++i) {
    const float a = load(x0[i]), b = load(x1[i]);
    store(rounded(a * load(cos[i]), y0) - rounded(b * load(sin[i]), y0), y0 + i);
    store(rounded(b * load(cos[i + half]), y0) + rounded(a * load(sin[i + half]), y0), y1 + i);
  }
}

template <class T>
void rotate(const T* x, const T* cos, const T* sin, T* y, int64_t heads, int64_t width, int64_t rotary) {
  const int64_t half = rotary / 2;
  for (int64_t h = 0; h < heads; ++h, x += width, y += width) {
    rotate_head(x, x + half, cos, sin, y, y + half, half);
    for (int64_t i = rotary; i < width; ++i) y[i] = x[i];
  }
}

template <class T>
void swiglu(const T* __restrict gate, const T* __restrict up, T* __restrict y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float g = load(gate[i]);
    store(rounded(g / (1.0f + exponential(-g)), y) * load(up[i]), y + i);
  }
}

template <class T>
void rms_norm_backward(const T* x, const T* w, const T* g, T* dx, float* dw, int64_t rows, int64_t width, float eps) {
  for (int64_t row = 0; row < rows; ++row, x += width, g += width, dx += width) {
    float squares = 0.0f, product = 0.0f;
    for (int64_t i = 0; i < width; ++i) {
      squares += load(x[i]) * load(x[i]);
      product += load(g[i]) * load(w[i]) * load(x[i]);
    }
    const float n = static_cast<float>(width), r = 1.0f / sqrtf(squares / n + eps), shift = product / n * r * r * r;
    for (int64_t i = 0; i < width; ++i) {
      dw[i] += load(g[i]) * load(x[i]) * r;
      store(r * load(g[i]) * load(w[i]) - load(x[i]) * shift, dx + i);
    }
  }
}

template <class T>
void swiglu_backward(const T* gate, const T* up, const T* g, T* d_gate, T* d_up, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float a = load(gate[i]), incoming = load(g[i]);
    const float s = 1.0f / (1.0f + exponential(-a));
    store(incoming * a * s, d_up + i);
    store(incoming * load(up[i]) * s * (1.0f + a * (1.0f - s)), d_gate + i);
  }
}

template <class T>
double cross_entropy(T* logits, const int64_t* targets, int64_t rows, int64_t classes, float smoothing, bool gradient) {
  double loss = 0;
  for (int64_t row = 0; row < rows; ++row, logits += classes) {
    float largest = -INFINITY, sum = 0.0f, all = 0.0f;
    for (int64_t i = 0; i < classes; ++i) largest = load(logits[i]) > largest ? load(logits[i]) : largest;
    for (int64_t i = 0; i < classes; ++i) sum += exponential(load(logits[i]) - largest);
    const float normalizer = largest + logf(sum), target = load(logits[targets[row]]);
    const float share = smoothing / static_cast<float>(classes);
    loss += (1.0 - smoothing) * (static_cast<double>(normalizer) - target);
    if (smoothing > 0.0f) {
      for (int64_t i = 0; i < classes; ++i) all += load(logits[i]);
      loss += smoothing * static_cast<double>(normalizer) - static_cast<double>(share) * all;
    }
    if (!gradient) continue;
    const float inverse = 1.0f / sum;
    const float at_target = exponential(target - largest) * inverse - share - (1.0f - smoothing);
    for (int64_t i = 0; i < classes; ++i) store(exponential(load(logits[i]) - largest) * inverse - share, logits + i);
    store(at_target, logits + targets[row]);
  }
  return loss;
}

template <class T>
void gemv(const T* w, const T* x, T* y, int64_t begin, int64_t end, int64_t width, int64_t m, int64_t stride) {
  for (int64_t r = begin; r < end; ++r) {
    for (int64_t i = 0; i < m; ++i) store(plain_dot(w + r * width, x + i * width, width), y + i * stride + r);
  }
}

// The first place where `is` holds, n if nowhere: block by block, so that the search vectorizes.
template <class Is>
int64_t first_where(const float* x, int64_t n, const Is& is) {
  constexpr int64_t kBlock = 256;
  for (int64_t from = 0; from < n; from += kBlock) {
    const int64_t end = from + kBlock < n ? from + kBlock : n;
    int found = 0;
    for (int64_t i = from; i < end; ++i) found |= is(x[i]) ? 1 : 0;
    for (int64_t i = from; found != 0 && i < end; ++i) {
      if (is(x[i])) return i;
    }
  }
  return n;
}

int64_t argmax(const float* x, int64_t n) {
  const int64_t nan = first_where(x, n, [](float v) { return v != v; });
  if (nan < n) return nan;
  const float largest = largest_of(x, n);
  return first_where(x, n, [=](float v) { return v == largest; });
}

uint64_t sum_words(const uint64_t* words, int64_t n) {
  uint64_t sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += words[i];
  return sum;
}

}  // namespace

extern const PackedTable CARAVAN_PACKED;  // packed.isa.cc
extern const PagedTable CARAVAN_PAGED;    // paged_attention.isa.cc
extern const Table CARAVAN_TABLE;
const Table CARAVAN_TABLE = {
    CARAVAN_ISA_NAME,
    rms_norm<float>,
    rms_norm<bf16>,
    rotate<float>,
    rotate<bf16>,
    swiglu<float>,
    swiglu<bf16>,
    rms_norm_backward<float>,
    rms_norm_backward<bf16>,
    swiglu_backward<float>,
    swiglu_backward<bf16>,
    cross_entropy<float>,
    cross_entropy<bf16>,
    gemv<bf16>,
    argmax,
    sum_words,
    &CARAVAN_PACKED,
    &CARAVAN_PAGED,
};

}  // namespace caravan::kernels
