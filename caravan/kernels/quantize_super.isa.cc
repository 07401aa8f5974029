// Floats into GGML's super-blocks of 256: groups of 16 or 32 with scales (and minima) that are rounded themselves, to
// multiples of one half. The layouts stand beside the loops of dequantize.cc.
//
// A super-block is searched in three steps: the best scale (and offset) of each group alone; the common half for
// several candidates; for each, the integer scales around the exact ones, judged by the error of the weights, and the
// half again from least squares over the whole super-block.
#include "caravan/kernels/quantize.h"
#include "caravan/kernels/quantize_fit.h"

namespace caravan::kernels {
namespace {

constexpr int kSuper = 256;

template <int kBytes, class Block>
void for_each_block(const float* from, const float* importance, std::byte* to, int64_t n, Block block) {
  float ones[kSuper];
  for (float& one : ones) one = 1;
  auto* bytes = reinterpret_cast<uint8_t*>(to);
  for (int64_t i = 0; i < n; i += kSuper, bytes += kBytes) {
    memset(bytes, 0, kBytes);
    block(from + i, importance == nullptr ? ones : importance + i, bytes);
  }
}

// --- y = d * scale * level: q3_k, q6_k, iq4_xs ----------------------------------------------------------------------
template <class Levels, int N, int kScaleLow, int kScaleHigh>
struct Symmetric {
  static constexpr int kGroups = kSuper / N;
  float d = 0;  // a half
  int scales[kGroups] = {};
  float levels[kSuper] = {};

  void fit(const float* x, const float* w) {
    float exact[kGroups], extreme = 0;
    for (int g = 0; g < kGroups; ++g) {
      exact[g] = fit_scale<Levels, N>(x + g * N, w + g * N, 7);
      extreme = magnitude(exact[g]) > magnitude(extreme) ? exact[g] : extreme;
    }
    if (extreme == 0) return;
    float least = -1;
    constexpr float kTops[] = {kScaleLow, kScaleHigh, kScaleLow + 1.5f, kScaleLow + 3.0f};
    for (const float top : kTops) {
      float candidate = round_to_half(extreme / top);
      for (int round = 0; round < 2 && candidate != 0; ++round) {
        int found[kGroups];
        const float error = fit_groups(x, w, exact, candidate, found);
        if (least < 0 || error < least) {
          least = error, d = candidate;
          memcpy(scales, found, sizeof scales);
        }
        candidate = refitted(x, w, candidate, found);
      }
    }
    for (int g = 0; g < kGroups; ++g)
      levels_of<Levels, N>(x + g * N, d * static_cast<float>(scales[g]), levels + g * N);
  }

 private:
  // The best integer scale of every group under this d, of the three around the exact one; the error of them all.
  static float fit_groups(const float* x, const float* w, const float* exact, float d, int* found) {
    float sum = 0;
    for (int g = 0; g < kGroups; ++g) {
      const int middle = static_cast<int>(nearest(clamp(exact[g] / d, kScaleLow, kScaleHigh)));
      float least = -1;
      for (int scale = middle - 1; scale <= middle + 1; ++scale) {
        if (scale < kScaleLow || scale > kScaleHigh) continue;
        const float error = scale_error<Levels, N>(x + g * N, w + g * N, d * static_cast<float>(scale));
        if (least >= 0 && error >= least) continue;
        least = error;
        found[g] = scale;
      }
      sum += least;
    }
    return sum;
  }

  // Least squares for d, levels and scales given.
  static float refitted(const float* x, const float* w, float d, const int* found) {
    double products = 0, squares = 0;
    float level[N];
    for (int g = 0; g < kGroups; ++g) {
      const auto scale = static_cast<float>(found[g]);
      levels_of<Levels, N>(x + g * N, d * scale, level);
      Moments moments;
      moments.add<N>(x + g * N, w + g * N, level);
      products += static_cast<double>(scale) * moments.xl;
      squares += static_cast<double>(scale) * static_cast<double>(scale) * moments.ll;
    }
    return squares > 0 ? round_to_half(static_cast<float>(products / squares)) : 0.0f;
  }
};

// --- y = d * scale * level - dmin * minimum: q2_k, q4_k, q5_k --------------------------------------------------------
template <int kHigh, int N, int kScaleHigh>
struct Affine {
  static constexpr int kGroups = kSuper / N;
  float d = 0, dmin = 0;  // halves
  int scales[kGroups] = {}, minima[kGroups] = {};
  float levels[kSuper] = {};

  void fit(const float* x, const float* w) {
    Line exact[kGroups];
    float scale = 0, minimum = 0;
    for (int g = 0; g < kGroups; ++g) {
      exact[g] = fit_line<kHigh, N>(x + g * N, w + g * N, true);
      scale = exact[g].scale > scale ? exact[g].scale : scale;
      minimum = -exact[g].offset > minimum ? -exact[g].offset : minimum;
    }
    float least = -1;
    constexpr float kTops[] = {kScaleHigh, kScaleHigh - 0.6f, kScaleHigh + 0.45f};
    for (const float top : kTops) {
      Affine tried;
      tried.d = round_to_half(scale / top);
      tried.dmin = round_to_half(minimum / static_cast<float>(kScaleHigh));
      for (int round = 0; round < 3; ++round) {
        const float error = tried.fit_groups(x, w, exact);
        if (least < 0 || error < least) least = error, *this = tried;
        if (!tried.refit(x, w)) break;
      }
    }
    for (int g = 0; g < kGroups; ++g) line_levels<kHigh, N>(x + g * N, line(scales[g], minima[g]), levels + g * N);
  }

 private:
  Line line(int scale, int minimum) const {
    return {d * static_cast<float>(scale), -(dmin * static_cast<float>(minimum))};
  }

  // Scales and minima of every group: of the nine around the exact ones those with the least error. The sum of errors.
  float fit_groups(const float* x, const float* w, const Line* exact) {
    float sum = 0;
    for (int g = 0; g < kGroups; ++g) {
      const int scale = d > 0 ? static_cast<int>(nearest(clamp(exact[g].scale / d, 0, kScaleHigh))) : 0;
      const int minimum = dmin > 0 ? static_cast<int>(nearest(clamp(-exact[g].offset / dmin, 0, kScaleHigh))) : 0;
      float least = -1;
      for (int s = scale - 1; s <= scale + 1; ++s) {
        for (int m = minimum - 1; m <= minimum + 1; ++m) {
          if (s < 0 || m < 0 || s > kScaleHigh || m > kScaleHigh) continue;
          const float error = line_error<kHigh, N>(x + g * N, w + g * N, line(s, m));
          if (least >= 0 && error >= least) continue;
          least = error;
          scales[g] = s, minima[g] = m;
        }
      }
      sum += least;
    }
    return sum;
  }

  // Least squares for d and dmin over the super-block, everything else given; false where there is nothing to solve.
  bool refit(const float* x, const float* w) {
    double aa = 0, ab = 0, bb = 0, ax = 0, bx = 0;  // of a = scale * level and b = -minimum
    for (int g = 0; g < kGroups; ++g) {
      float level[N];
      line_levels<kHigh, N>(x + g * N, line(scales[g], minima[g]), level);
      Moments m;
      m.add<N>(x + g * N, w + g * N, level);
      const double s = scales[g], t = -minima[g];
      aa += s * s * m.ll, ab += s * t * m.l, bb += t * t * m.w, ax += s * m.xl, bx += t * m.x;
    }
    const double determinant = aa * bb - ab * ab;
    if (determinant > 1e-9 * aa * bb) {
      d = round_to_half(static_cast<float>((ax * bb - bx * ab) / determinant));
      dmin = round_to_half(static_cast<float>((aa * bx - ab * ax) / determinant));
    } else if (aa > 0) {
      d = round_to_half(static_cast<float>(ax / aa));
    }
    return d > 0 && dmin >= 0;
  }
};

// --- layouts --------------------------------------------------------------------------------------------------------
// Element i's bits `shift` places up in byte i / 128 * stride + i % stride: how all of them spread 128 elements.
void spread(const float* levels, int low_bits, int stride, int bits, uint8_t* to) {
  for (int i = 0; i < kSuper; ++i) {
    const int q = static_cast<int>(levels[i]) >> low_bits & ((1 << bits) - 1);
    const int in_half = i % 128;
    to[i / 128 * stride + in_half % stride] |= static_cast<uint8_t>(q << in_half / stride * bits);
  }
}

// The 6-bit scales and minima of q4_k and q5_k: see scale_min() in dequantize.cc.
void pack_scale_min(const int* scales, const int* minima, uint8_t* to) {
  for (int i = 0; i < 4; ++i) {
    to[i] = static_cast<uint8_t>(scales[i] | scales[i + 4] >> 4 << 6);
    to[i + 4] = static_cast<uint8_t>(minima[i] | minima[i + 4] >> 4 << 6);
    to[i + 8] = static_cast<uint8_t>((scales[i + 4] & 15) | (minima[i + 4] & 15) << 4);
  }
}

void q2_k(const float* from, const float* importance, std::byte* to, int64_t n) {
  for_each_block<84>(from, importance, to, n, [](const float* x, const float* w, uint8_t* b) {
    Affine<3, 16, 15> fit;
    fit.fit(x, w);
    for (int g = 0; g < 16; ++g) b[g] = static_cast<uint8_t>(fit.scales[g] | fit.minima[g] << 4);
    spread(fit.levels, 0, 32, 2, b + 16);
    store_half(fit.d, b + 80), store_half(fit.dmin, b + 82);
  });
}

void q3_k(const float* from, const float* importance, std::byte* to, int64_t n) {
  for_each_block<110>(from, importance, to, n, [](const float* x, const float* w, uint8_t* b) {
    Symmetric<Integers<-4, 3>, 16, -32, 31> fit;
    fit.fit(x, w);
    for (float& level : fit.levels) level += 4;
    for (int i = 0; i < kSuper; ++i)
      b[i % 32] |= static_cast<uint8_t>((static_cast<int>(fit.levels[i]) >> 2) << i / 32);
    spread(fit.levels, 0, 32, 2, b + 32);
    for (int g = 0; g < 16; ++g) {
      const int scale = fit.scales[g] + 32;
      b[96 + g % 8] |= static_cast<uint8_t>((scale & 15) << g / 8 * 4);
      b[104 + g % 4] |= static_cast<uint8_t>(scale >> 4 << g / 4 * 2);
    }
    store_half(fit.d, b + 108);
  });
}

void q4_k(const float* from, const float* importance, std::byte* to, int64_t n) {
  for_each_block<144>(from, importance, to, n, [](const float* x, const float* w, uint8_t* b) {
    Affine<15, 32, 63> fit;
    fit.fit(x, w);
    store_half(fit.d, b), store_half(fit.dmin, b + 2);
    pack_scale_min(fit.scales, fit.minima, b + 4);
    for (int i = 0; i < kSuper; ++i) {
      b[16 + i / 64 * 32 + i % 32] |= static_cast<uint8_t>(static_cast<int>(fit.levels[i]) << i / 32 % 2 * 4);
    }
  });
}

void q5_k(const float* from, const float* importance, std::byte* to, int64_t n) {
  for_each_block<176>(from, importance, to, n, [](const float* x, const float* w, uint8_t* b) {
    Affine<31, 32, 63> fit;
    fit.fit(x, w);
    store_half(fit.d, b), store_half(fit.dmin, b + 2);
    pack_scale_min(fit.scales, fit.minima, b + 4);
    for (int i = 0; i < kSuper; ++i) {
      const int q = static_cast<int>(fit.levels[i]);
      b[16 + i % 32] |= static_cast<uint8_t>((q >> 4) << i / 32);
      b[48 + i / 64 * 32 + i % 32] |= static_cast<uint8_t>((q & 15) << i / 32 % 2 * 4);
    }
  });
}

void q6_k(const float* from, const float* importance, std::byte* to, int64_t n) {
  for_each_block<210>(from, importance, to, n, [](const float* x, const float* w, uint8_t* b) {
    Symmetric<Integers<-32, 31>, 16, -128, 127> fit;
    fit.fit(x, w);
    for (float& level : fit.levels) level += 32;
    spread(fit.levels, 0, 64, 4, b);
    spread(fit.levels, 4, 32, 2, b + 128);
    for (int g = 0; g < 16; ++g) b[192 + g] = static_cast<uint8_t>(static_cast<int8_t>(fit.scales[g]));
    store_half(fit.d, b + 208);
  });
}

void iq4_xs(const float* from, const float* importance, std::byte* to, int64_t n) {
  for_each_block<136>(from, importance, to, n, [](const float* x, const float* w, uint8_t* b) {
    Symmetric<Iq4Levels, 32, -32, 31> fit;
    fit.fit(x, w);
    store_half(fit.d, b);
    for (int g = 0; g < 8; ++g) {
      const int scale = fit.scales[g] + 32;
      b[4 + g / 2] |= static_cast<uint8_t>((scale & 15) << g % 2 * 4);
      b[2 + g / 4] |= static_cast<uint8_t>(scale >> 4 << g % 4 * 2);
    }
    for (int i = 0; i < kSuper; ++i) {
      b[8 + i / 32 * 16 + i % 16] |= static_cast<uint8_t>(Iq4Levels::index(fit.levels[i]) << i / 16 % 2 * 4);
    }
  });
}

}  // namespace

#define CARAVAN_JOIN(a, b) a##b
#define CARAVAN_NAME(isa, what) CARAVAN_JOIN(isa, what)
extern const QuantizeSuper CARAVAN_NAME(CARAVAN_QUANTIZE, _quantize_super);
const QuantizeSuper CARAVAN_NAME(CARAVAN_QUANTIZE, _quantize_super) = {q2_k, q3_k, q4_k, q5_k, q6_k, iq4_xs};

}  // namespace caravan::kernels
