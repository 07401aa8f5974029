// Floats into GGML's blocks of 32. The layouts stand beside the loops of dequantize.cc. Without importance the first
// five follow ggml's reference (quantize_row_*_ref, and the `gguf` package) operation by operation.
#include "caravan/kernels/quantize.h"
#include "caravan/kernels/quantize_fit.h"

namespace caravan::kernels {
namespace {

constexpr int kBlock = 32;

template <int kBytes, class Block>
void for_each_block(const float* from, const float* importance, std::byte* to, int64_t n, Block block) {
  auto* bytes = reinterpret_cast<uint8_t*>(to);
  for (int64_t i = 0; i < n; i += kBlock, bytes += kBytes) {
    block(from + i, importance == nullptr ? nullptr : importance + i, bytes);
  }
}

// Elements 0..15 into low nibbles, 16..31 into high ones; bit 4 of element i into bit i of `high`.
void pack(const int* q, uint8_t* nibbles, uint8_t* high) {
  for (int i = 0; i < 16; ++i) nibbles[i] = static_cast<uint8_t>((q[i] & 15) | (q[i + 16] & 15) << 4);
  if (high == nullptr) return;
  uint32_t bits = 0;
  for (int i = 0; i < kBlock; ++i) bits |= static_cast<uint32_t>(q[i] >> 4 & 1) << i;
  for (int i = 0; i < 4; ++i) high[i] = static_cast<uint8_t>(bits >> 8 * i);
}

float extreme_of(const float* x) {  // the first of the largest magnitude
  float extreme = 0;
  for (int i = 0; i < kBlock; ++i) extreme = magnitude(x[i]) > magnitude(extreme) ? x[i] : extreme;
  return extreme;
}

// The reference's rounding: x * inverse + bias, cut off. Two roundings to float.
void cut_levels(const float* x, float shift, float inverse, float bias, int highest, int* q) {
  for (int i = 0; i < kBlock; ++i) {
    q[i] = static_cast<int>(clamp((x[i] - shift) * inverse + bias, 0, static_cast<float>(highest)));
  }
}

template <class Levels>
void fitted_levels(const float* x, float scale, int* q) {
  float level[kBlock];
  levels_of<Levels, kBlock>(x, scale, level);
  for (int i = 0; i < kBlock; ++i) q[i] = Levels::index(level[i]);
}

// q4_0 and q5_0: y = d * (q - 8 or 16)
template <int kLowest>
float symmetric(const float* x, const float* w, int* q) {
  using Levels = Integers<-kLowest, kLowest - 1>;
  if (w == nullptr) {
    const float d = extreme_of(x) / static_cast<float>(-kLowest);
    cut_levels(x, 0, d != 0 ? 1 / d : 0.0f, static_cast<float>(kLowest) + 0.5f, 2 * kLowest - 1, q);
    return d;
  }
  const float d = fit_half<Levels, kBlock>(x, w);
  fitted_levels<Levels>(x, d, q);
  return d;
}

// q4_1 and q5_1: y = d * q + m
template <int kHigh>
Line affine(const float* x, const float* w, int* q) {
  if (w == nullptr) {
    float low = x[0], high = x[0];
    for (int i = 1; i < kBlock; ++i) low = x[i] < low ? x[i] : low, high = x[i] > high ? x[i] : high;
    const float d = (high - low) / static_cast<float>(kHigh);
    cut_levels(x, low, d != 0 ? 1 / d : 0.0f, 0.5f, kHigh, q);
    return {d, low};
  }
  const Line line = fit_half_line<kHigh, kBlock>(x, w);
  float level[kBlock];
  line_levels<kHigh, kBlock>(x, line, level);
  for (int i = 0; i < kBlock; ++i) q[i] = static_cast<int>(level[i]);
  return line;
}

void q4_0(const float* from, const float* importance, std::byte* to, int64_t n) {
  for_each_block<18>(from, importance, to, n, [](const float* x, const float* w, uint8_t* b) {
    int q[kBlock];
    store_half(symmetric<8>(x, w, q), b);
    pack(q, b + 2, nullptr);
  });
}

void q5_0(const float* from, const float* importance, std::byte* to, int64_t n) {
  for_each_block<22>(from, importance, to, n, [](const float* x, const float* w, uint8_t* b) {
    int q[kBlock];
    store_half(symmetric<16>(x, w, q), b);
    pack(q, b + 6, b + 2);
  });
}

void q4_1(const float* from, const float* importance, std::byte* to, int64_t n) {
  for_each_block<20>(from, importance, to, n, [](const float* x, const float* w, uint8_t* b) {
    int q[kBlock];
    const Line line = affine<15>(x, w, q);
    store_half(line.scale, b), store_half(line.offset, b + 2);
    pack(q, b + 4, nullptr);
  });
}

void q5_1(const float* from, const float* importance, std::byte* to, int64_t n) {
  for_each_block<24>(from, importance, to, n, [](const float* x, const float* w, uint8_t* b) {
    int q[kBlock];
    const Line line = affine<31>(x, w, q);
    store_half(line.scale, b), store_half(line.offset, b + 2);
    pack(q, b + 8, b + 4);
  });
}

// y = d * q, rounded half away from zero. 255 levels leave nothing to search for: importance is not asked.
void q8_0(const float* from, const float* importance, std::byte* to, int64_t n) {
  for_each_block<34>(from, importance, to, n, [](const float* x, const float*, uint8_t* b) {
    const float d = magnitude(extreme_of(x)) / 127.0f;
    const float inverse = d != 0 ? 1 / d : 0.0f;
    store_half(d, b);
    for (int i = 0; i < kBlock; ++i) {
      const float v = x[i] * inverse, size = clamp(magnitude(v), 0, 127),
                  floor = static_cast<float>(static_cast<int>(size));
      const int level = static_cast<int>(floor) + (size - floor >= 0.5f ? 1 : 0);
      b[2 + i] = static_cast<uint8_t>(v < 0 ? -level : level);
    }
  });
}

void iq4_nl(const float* from, const float* importance, std::byte* to, int64_t n) {
  for_each_block<18>(from, importance, to, n, [](const float* x, const float* given, uint8_t* b) {
    float ones[kBlock];
    for (float& one : ones) one = 1;
    const float d = fit_half<Iq4Levels, kBlock>(x, given == nullptr ? ones : given);
    int q[kBlock];
    fitted_levels<Iq4Levels>(x, d, q);
    store_half(d, b);
    pack(q, b + 2, nullptr);
  });
}

}  // namespace

#define CARAVAN_JOIN(a, b) a##b
#define CARAVAN_NAME(isa, what) CARAVAN_JOIN(isa, what)
extern const QuantizeSmall CARAVAN_NAME(CARAVAN_QUANTIZE, _quantize_small);
const QuantizeSmall CARAVAN_NAME(CARAVAN_QUANTIZE, _quantize_small) = {q4_0, q4_1, q5_0, q5_1, q8_0, iq4_nl};

}  // namespace caravan::kernels
