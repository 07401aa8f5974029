// The bodies of all kernels, in plain loops. Compiled once per instruction set with that set's flags and with
// reassociation of sums allowed, so that the compiler vectorizes them; CARAVAN_TABLE names the resulting table.
// Everything but the table is local to the file: nothing compiled for a newer machine can be linked in by an older
// one's code.
#include <math.h>
#include <string.h>

#include "caravan/kernels/table.h"

namespace caravan::kernels {
namespace {

float load(float x) { return x; }
float load(bf16 x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

void store(float x, float* to) { *to = x; }
void store(float x, bf16* to) {  // round to nearest even; a NaN stays one
  uint32_t bits;
  memcpy(&bits, &x, 4);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  *to = static_cast<bf16>(x != x ? 0x7fc0 : rounded);
}

template <class T>
float rounded(float x, T*) {  // the value that storing as T keeps
  T t;
  store(x, &t);
  return load(t);
}

template <class T>
void rms_norm(const T* x, const T* w, T* y, int64_t rows, int64_t width, float eps) {
  for (int64_t r = 0; r < rows; ++r, x += width, y += width) {
    float sum = 0.0f;
    for (int64_t i = 0; i < width; ++i) sum += load(x[i]) * load(x[i]);
    const float scale = 1.0f / sqrtf(sum / static_cast<float>(width) + eps);
    for (int64_t i = 0; i < width; ++i) store(load(w[i]) * rounded(load(x[i]) * scale, y), y + i);
  }
}

template <class T>
void rotate(const T* x, const T* cos, const T* sin, T* y, int64_t heads, int64_t width, int64_t rotary) {
  const int64_t half = rotary / 2;
  for (int64_t h = 0; h < heads; ++h, x += width, y += width) {
    for (int64_t i = 0; i < half; ++i) {
      const float a = load(x[i]), b = load(x[i + half]);
      store(rounded(a * load(cos[i]), y) - rounded(b * load(sin[i]), y), y + i);
      store(rounded(b * load(cos[i + half]), y) + rounded(a * load(sin[i + half]), y), y + i + half);
    }
    for (int64_t i = rotary; i < width; ++i) y[i] = x[i];
  }
}

template <class T>
void swiglu(const T* gate, const T* up, T* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float g = load(gate[i]);
    store(rounded(g / (1.0f + expf(-g)), y) * load(up[i]), y + i);
  }
}

template <class T>
float dot(const T* a, const T* b, int64_t n) {
  float sum = 0.0f;
  for (int64_t i = 0; i < n; ++i) sum += load(a[i]) * load(b[i]);
  return sum;
}

// Scores of all tokens first, then softmax, then the weighted sum of the values: three passes over a buffer that stays
// in the cache. The accumulator of a query is at most 512 wide here; wider heads are summed in slices.
template <class T>
void attend(const PagedHead& p) {
  const T* queries = static_cast<const T*>(p.queries);
  const int64_t tokens = p.last - p.first, width = p.width;
  for (int64_t t = 0; t < tokens; ++t) {
    const int64_t at = p.first + t;
    const T* key = static_cast<const T*>(p.keys[at / p.page_tokens]) + (at % p.page_tokens) * width;
    for (int64_t g = 0; g < p.group; ++g) p.scores[g * tokens + t] = p.scale * dot(queries + g * width, key, width);
  }
  constexpr int64_t kSlice = 512;
  for (int64_t g = 0; g < p.group; ++g) {
    float* scores = p.scores + g * tokens;
    float largest = -INFINITY, sum = 0.0f;
    for (int64_t t = 0; t < tokens; ++t) largest = scores[t] > largest ? scores[t] : largest;
    for (int64_t t = 0; t < tokens; ++t) sum += scores[t] = expf(scores[t] - largest);
    const float inverse = 1.0f / sum;
    for (int64_t from = 0; from < width; from += kSlice) {
      const int64_t n = width - from < kSlice ? width - from : kSlice;
      float total[kSlice] = {};
      for (int64_t t = 0; t < tokens; ++t) {
        const int64_t at = p.first + t;
        const T* value = static_cast<const T*>(p.values[at / p.page_tokens]) + (at % p.page_tokens) * width + from;
        const float weight = scores[t];
        for (int64_t i = 0; i < n; ++i) total[i] += weight * load(value[i]);
      }
      T* out = static_cast<T*>(p.output) + g * width + from;
      for (int64_t i = 0; i < n; ++i) store(total[i] * inverse, out + i);
    }
  }
}

template <class T>
void gemv(const T* w, const T* x, T* y, int64_t begin, int64_t end, int64_t width, int64_t m, int64_t stride) {
  for (int64_t r = begin; r < end; ++r) {
    for (int64_t i = 0; i < m; ++i) store(dot(w + r * width, x + i * width, width), y + i * stride + r);
  }
}

}  // namespace

extern const Table CARAVAN_TABLE;
const Table CARAVAN_TABLE = {
    CARAVAN_ISA_NAME, rms_norm<float>, rms_norm<bf16>, rotate<float>, rotate<bf16>, swiglu<float>,
    swiglu<bf16>,     attend<float>,   attend<bf16>,   gemv<float>,   gemv<bf16>,
};

}  // namespace caravan::kernels
