// Least squares behind quantize_*.isa.cc: scales (and offsets) of groups of 16 or 32 numbers whose rounded multiples
// come nearest to them. Static functions only, as in sixteen.h.
//
// Idea of searching scales and solving least squares for each rounding: ggml's k-quants (pull request 1684, I. Kawrakow
// 2023). Here the scales' own rounding is part of the search.
#pragma once

#include <stdint.h>
#include <string.h>

#include "caravan/kernels/half.h"
#include "caravan/kernels/vec16.h"

namespace caravan::kernels {
namespace {

// IEEE half, to nearest, ties to even; what is too large becomes infinity.
inline uint16_t to_half(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  const uint32_t sign = bits >> 16 & 0x8000;
  bits &= 0x7fffffff;
  if (bits >= 0x7f800000) return static_cast<uint16_t>(sign | 0x7c00 | (bits > 0x7f800000 ? 0x200 : 0));
  if (bits < 0x38800000) {                                  // below 2^-14: units of 2^-24
    const float units = bits_to_float(bits) * 16777216.0f;  // exact
    return static_cast<uint16_t>(sign | static_cast<uint32_t>(nearest(units)));
  }
  const uint32_t rounded = bits + 0xfff + (bits >> 13 & 1);
  const uint32_t half = (rounded - 0x38000000) >> 13;
  return static_cast<uint16_t>(sign | (half < 0x7c00 ? half : 0x7c00));
}

inline void store_half(float value, uint8_t* to) {
  const uint16_t half = to_half(value);
  to[0] = static_cast<uint8_t>(half), to[1] = static_cast<uint8_t>(half >> 8);
}
inline float round_to_half(float value) { return half_to_float(to_half(value)); }

// --- what a weight can be: levels times a scale --------------------------------------------------------------------
// The integers kLow .. kHigh.
template <int kLow, int kHigh>
struct Integers {
  static constexpr float low = kLow, high = kHigh;
  static CARAVAN_INLINE Vec level(const Vec& v) { return nearest(clamp(v, kLow, kHigh)); }
  static int index(float level) { return static_cast<int>(level) - kLow; }
};

// The 16 levels of iq4_nl and iq4_xs.
struct Iq4Levels {
  static constexpr float low = -127, high = 113;
  static constexpr int8_t kValues[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
  static CARAVAN_INLINE Vec level(const Vec& v) {
    Vec out = all16(low);
    for (int i = 1; i < 16; ++i) {
      const float middle = 0.5f * static_cast<float>(kValues[i] + kValues[i - 1]);
      const Native above = Native{} + static_cast<float>(kValues[i]);
      out = each([&](int k) __attribute__((always_inline)) { return v.part[k] > middle ? above : out.part[k]; });
    }
    return out;
  }
  static int index(float level) {
    int i = 0;
    while (i < 15 && static_cast<float>(kValues[i]) < level) ++i;
    return i;
  }
};

// Levels of N numbers for y = scale * level.
template <class Levels, int N>
CARAVAN_INLINE void levels_of(const float* x, float scale, float* level) {
  const float inverse = scale != 0 ? 1 / scale : 0.0f;
  for (int i = 0; i < N; i += 16) store16(Levels::level(load16(x + i) * inverse), level + i);
}

// sum w (x - scale * level)^2
template <class Levels, int N>
CARAVAN_INLINE float scale_error(const float* x, const float* w, float scale) {
  const float inverse = scale != 0 ? 1 / scale : 0.0f;
  Vec sum = all16(0);
  for (int i = 0; i < N; i += 16) {
    const Vec value = load16(x + i);
    const Vec rest = value - Levels::level(value * inverse) * scale;
    sum += load16(w + i) * rest * rest;
  }
  return total(sum);
}

// The scale that makes sum w (x - scale * level(x / scale))^2 smallest, of those that candidates lead to.
template <class Levels, int N>
inline float fit_scale(const float* x, const float* w, int steps = 9) {
  float extreme = 0;
  for (int i = 0; i < N; ++i) extreme = magnitude(x[i]) > magnitude(extreme) ? x[i] : extreme;
  if (magnitude(extreme) < 1e-30f) return 0;
  float best = -1, scale = 0;
  const auto attempt = [&](float inverse) {
    Vec products = all16(0), squares = all16(0);
    for (int i = 0; i < N; i += 16) {
      const Vec value = load16(x + i), level = Levels::level(value * inverse), wl = load16(w + i) * level;
      products += wl * value;
      squares += wl * level;
    }
    const float p = total(products), s = total(squares);
    if (!(s > 0) || p * (p / s) <= best) return;
    best = p * (p / s);
    scale = p / s;
  };
  for (int step = -steps; step <= steps; ++step) {
    const float shift = 0.1f * static_cast<float>(step) * Levels::low / -8;
    attempt((Levels::low + shift) / extreme);
    attempt((Levels::high + shift) / extreme);
  }
  for (int round = 0; round < 2 && scale != 0; ++round) attempt(1 / scale);
  return scale;
}

// The scale as a half: fit_scale's, or plain rounding's where the half's few bits make that one the nearer.
template <class Levels, int N>
inline float fit_half(const float* x, const float* w) {
  float extreme = 0;
  for (int i = 0; i < N; ++i) extreme = magnitude(x[i]) > magnitude(extreme) ? x[i] : extreme;
  const float fitted = round_to_half(fit_scale<Levels, N>(x, w)), plain = round_to_half(extreme / Levels::low);
  return scale_error<Levels, N>(x, w, plain) < scale_error<Levels, N>(x, w, fitted) ? plain : fitted;
}

// --- y = scale * level + offset, levels 0 .. kHigh ------------------------------------------------------------------
struct Line {
  float scale, offset;
};

template <int kHigh, int N>
CARAVAN_INLINE float line_error(const float* x, const float* w, Line line) {
  const float inverse = line.scale > 0 ? 1 / line.scale : 0.0f;
  Vec sum = all16(0);
  for (int i = 0; i < N; i += 16) {
    const Vec value = load16(x + i);
    const Vec level = nearest(clamp((value - line.offset) * inverse, 0, kHigh));
    const Vec rest = value - (level * line.scale + line.offset);
    sum += load16(w + i) * rest * rest;
  }
  return total(sum);
}

template <int kHigh, int N>
CARAVAN_INLINE void line_levels(const float* x, Line line, float* level) {
  const float inverse = line.scale > 0 ? 1 / line.scale : 0.0f;
  for (int i = 0; i < N; i += 16) {
    store16(nearest(clamp((load16(x + i) - line.offset) * inverse, 0, kHigh)), level + i);
  }
}

// Weighted sums over numbers and their levels, and the lines that they lead to.
struct Moments {
  double w = 0, x = 0, l = 0, ll = 0, xl = 0;

  template <int N>
  void add(const float* values, const float* weights, const float* levels) {
    Vec sw = all16(0), sx = sw, sl = sw, sll = sw, sxl = sw;
    for (int i = 0; i < N; i += 16) {
      const Vec v = load16(values + i), wi = load16(weights + i), level = load16(levels + i), wl = wi * level;
      sw += wi, sx += wi * v, sl += wl, sll += wl * level, sxl += wl * v;
    }
    w += static_cast<double>(total(sw)), x += static_cast<double>(total(sx)), l += static_cast<double>(total(sl));
    ll += static_cast<double>(total(sll)), xl += static_cast<double>(total(sxl));
  }

  // Least squares; the offset is at most 0 where `negative`. False where the levels tell nothing.
  bool solve(bool negative, Line& line) const {
    const double determinant = w * ll - l * l;
    if (!(determinant > 0)) return false;
    line.scale = static_cast<float>((w * xl - x * l) / determinant);
    line.offset = static_cast<float>((ll * x - l * xl) / determinant);
    if (negative && line.offset > 0) {
      if (!(ll > 0)) return false;
      line = {static_cast<float>(xl / ll), 0.0f};
    }
    return line.scale > 0;
  }
};

// The best line of those that candidates lead to; offset <= 0 where `negative`.
template <int kHigh, int N>
inline Line fit_line(const float* x, const float* w, bool negative) {
  float low = x[0], high = x[0];
  for (int i = 1; i < N; ++i) low = x[i] < low ? x[i] : low, high = x[i] > high ? x[i] : high;
  if (negative && low > 0) low = 0;
  if (!(high - low > 1e-30f)) return {0.0f, low};
  Line best{(high - low) / kHigh, low};
  float least = line_error<kHigh, N>(x, w, best);
  float levels[N];
  const auto attempt = [&](Line from) {
    line_levels<kHigh, N>(x, from, levels);
    Moments moments;
    moments.add<N>(x, w, levels);
    Line line;
    if (!moments.solve(negative, line)) return;
    const float error = line_error<kHigh, N>(x, w, line);
    if (error < least) least = error, best = line;
  };
  constexpr int kSteps = 20;
  const float reach = kHigh < 8 ? 0.7f : 1.5f;
  for (int step = 0; step <= kSteps; ++step) {
    const float range = kHigh - 0.6f + reach * static_cast<float>(step) / kSteps;
    attempt({(high - low) / range, low});
  }
  for (int round = 0; round < 3; ++round) attempt(best);
  return best;
}

// Both as halves: fit_line's, or plain rounding's where the halves' few bits make that one the nearer.
template <int kHigh, int N>
inline Line fit_half_line(const float* x, const float* w) {
  float low = x[0], high = x[0];
  for (int i = 1; i < N; ++i) low = x[i] < low ? x[i] : low, high = x[i] > high ? x[i] : high;
  const Line line = fit_line<kHigh, N>(x, w, false);
  const Line fitted{round_to_half(line.scale), round_to_half(line.offset)};
  const Line plain{round_to_half((high - low) / kHigh), round_to_half(low)};
  return line_error<kHigh, N>(x, w, plain) < line_error<kHigh, N>(x, w, fitted) ? plain : fitted;
}

}  // namespace
}  // namespace caravan::kernels
