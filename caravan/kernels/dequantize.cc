// Portable loops over GGML's block layouts (ggml-common.h). Each block struct is spelled out beside its loop; fields
// are read byte by byte, since blocks have no alignment. FP contraction must stay off: a fused multiply-add in `d * q -
// m` would round once where the reference rounds twice (see CMakeLists.txt).
#include "caravan/kernels/dequantize.h"

#include <cstring>

#include "caravan/kernels/half.h"

namespace caravan::kernels {
namespace {

constexpr int kSmallBlock = 32;   // elements of q4_0 ... q8_0, iq4_nl
constexpr int kSuperBlock = 256;  // elements of q2_k ... q6_k, iq4_xs
constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

uint16_t load_u16(const uint8_t* p) { return static_cast<uint16_t>(p[0] | p[1] << 8); }
uint32_t load_u32(const uint8_t* p) { return load_u16(p) | static_cast<uint32_t>(load_u16(p + 2)) << 16; }

float load_half(const uint8_t* p) { return half_to_float(load_u16(p)); }

// Calls block(from, to) for each block of the row.
template <int kElements, int kBytes, class Block>
void for_each_block(const std::byte* from, float* to, int64_t n, Block block) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(from);
  for (int64_t i = 0; i < n; i += kElements, bytes += kBytes, to += kElements) block(bytes, to);
}

// The 6-bit scales and minima of q4_k and q5_k, 8 of each in 12 bytes:
//   0..3: EEAAAAAA  4..7: eeaaaaaa  8..11: eeeeEEEE   (A: scales 0..3, E: scales 4..7; lower case: minima)
struct ScaleMin {
  float scale, minimum;
};
ScaleMin scale_min(const uint8_t* packed, int i) {
  if (i < 4) return {static_cast<float>(packed[i] & 63), static_cast<float>(packed[i + 4] & 63)};
  return {static_cast<float>((packed[i + 4] & 15) | (packed[i - 4] >> 6) << 4),
          static_cast<float>((packed[i + 4] >> 4) | (packed[i] >> 6) << 4)};
}

}  // namespace

void dequantize_f16(const std::byte* from, float* to, int64_t n) noexcept {
  for_each_block<1, 2>(from, to, n, [](const uint8_t* b, float* y) { *y = load_half(b); });
}

void dequantize_bf16(const std::byte* from, float* to, int64_t n) noexcept {
  for_each_block<1, 2>(
      from, to, n, [](const uint8_t* b, float* y) { *y = bits_to_float(static_cast<uint32_t>(load_u16(b)) << 16); });
}

// { half d; u8 q[16]; }   y = d * (q - 8); low nibbles are elements 0..15, high nibbles 16..31
void dequantize_q4_0(const std::byte* from, float* to, int64_t n) noexcept {
  for_each_block<kSmallBlock, 18>(from, to, n, [](const uint8_t* b, float* y) {
    const float d = load_half(b);
    const uint8_t* q = b + 2;
    for (int i = 0; i < 16; ++i) {
      y[i] = d * static_cast<float>((q[i] & 15) - 8);
      y[i + 16] = d * static_cast<float>((q[i] >> 4) - 8);
    }
  });
}

// { half d, m; u8 q[16]; }   y = d * q + m
void dequantize_q4_1(const std::byte* from, float* to, int64_t n) noexcept {
  for_each_block<kSmallBlock, 20>(from, to, n, [](const uint8_t* b, float* y) {
    const float d = load_half(b), m = load_half(b + 2);
    const uint8_t* q = b + 4;
    for (int i = 0; i < 16; ++i) {
      y[i] = d * static_cast<float>(q[i] & 15) + m;
      y[i + 16] = d * static_cast<float>(q[i] >> 4) + m;
    }
  });
}

// { half d; u32 high; u8 q[16]; }   y = d * ((q | high bit << 4) - 16)
void dequantize_q5_0(const std::byte* from, float* to, int64_t n) noexcept {
  for_each_block<kSmallBlock, 22>(from, to, n, [](const uint8_t* b, float* y) {
    const float d = load_half(b);
    const uint32_t high = load_u32(b + 2);
    const uint8_t* q = b + 6;
    for (int i = 0; i < 16; ++i) {
      y[i] = d * static_cast<float>(static_cast<int>((q[i] & 15) | (high >> i & 1) << 4) - 16);
      y[i + 16] = d * static_cast<float>(static_cast<int>((q[i] >> 4) | (high >> (i + 16) & 1) << 4) - 16);
    }
  });
}

// { half d, m; u32 high; u8 q[16]; }   y = d * (q | high bit << 4) + m
void dequantize_q5_1(const std::byte* from, float* to, int64_t n) noexcept {
  for_each_block<kSmallBlock, 24>(from, to, n, [](const uint8_t* b, float* y) {
    const float d = load_half(b), m = load_half(b + 2);
    const uint32_t high = load_u32(b + 4);
    const uint8_t* q = b + 8;
    for (int i = 0; i < 16; ++i) {
      y[i] = d * static_cast<float>((q[i] & 15) | (high >> i & 1) << 4) + m;
      y[i + 16] = d * static_cast<float>((q[i] >> 4) | (high >> (i + 16) & 1) << 4) + m;
    }
  });
}

// { half d; i8 q[32]; }   y = d * q
void dequantize_q8_0(const std::byte* from, float* to, int64_t n) noexcept {
  for_each_block<kSmallBlock, 34>(from, to, n, [](const uint8_t* b, float* y) {
    const float d = load_half(b);
    for (int i = 0; i < kSmallBlock; ++i) y[i] = d * static_cast<float>(static_cast<int8_t>(b[2 + i]));
  });
}

// { half d; u8 q[16]; }   y = d * table[q]: a 4-bit code book that is not linear
void dequantize_iq4_nl(const std::byte* from, float* to, int64_t n) noexcept {
  for_each_block<kSmallBlock, 18>(from, to, n, [](const uint8_t* b, float* y) {
    const float d = load_half(b);
    const uint8_t* q = b + 2;
    for (int i = 0; i < 16; ++i) {
      y[i] = d * static_cast<float>(kIq4Values[q[i] & 15]);
      y[i + 16] = d * static_cast<float>(kIq4Values[q[i] >> 4]);
    }
  });
}

// { u8 scales[16]; u8 q[64]; half d, dmin; }   y = d * (scale & 15) * q - dmin * (scale >> 4); 16 elements a scale.
// 32 bytes hold 128 elements: bits 0-1 the first 32 of them, bits 2-3 the next 32 ...
void dequantize_q2_k(const std::byte* from, float* to, int64_t n) noexcept {
  for_each_block<kSuperBlock, 84>(from, to, n, [](const uint8_t* b, float* y) {
    const uint8_t *scales = b, *q = b + 16;
    const float d = load_half(b + 80), dmin = load_half(b + 82);
    for (int i = 0; i < kSuperBlock; ++i) {
      const int half = i / 128, shift = i % 128 / 32 * 2;
      const uint8_t scale = scales[i / 16];
      const float dl = d * static_cast<float>(scale & 15), ml = dmin * static_cast<float>(scale >> 4);
      y[i] = dl * static_cast<float>(q[half * 32 + i % 32] >> shift & 3) - ml;
    }
  });
}

// { u8 high[32]; u8 q[64]; u8 scales[12]; half d; }   y = d * (scale - 32) * (q - (high bit ? 0 : 4)); 16 elements a
// scale. Scale i: its low 4 bits in nibble i / 8 of byte i % 8, its high 2 bits in bits 2 * (i / 4) of byte 8 + i % 4.
void dequantize_q3_k(const std::byte* from, float* to, int64_t n) noexcept {
  for_each_block<kSuperBlock, 110>(from, to, n, [](const uint8_t* b, float* y) {
    const uint8_t *high = b, *q = b + 32, *scales = b + 96;
    const float d = load_half(b + 108);
    for (int i = 0; i < kSuperBlock; ++i) {
      const int s = i / 16, half = i / 128, shift = i % 128 / 32 * 2;
      const int scale = (scales[s % 8] >> s / 8 * 4 & 15) | (scales[8 + s % 4] >> s / 4 * 2 & 3) << 4;
      const int value = (q[half * 32 + i % 32] >> shift & 3) - ((high[i % 32] >> i / 32 & 1) != 0 ? 0 : 4);
      y[i] = d * static_cast<float>(scale - 32) * static_cast<float>(value);
    }
  });
}

// { half d, dmin; u8 scales[12]; u8 q[128]; }   y = d * scale * q - dmin * minimum; 32 elements a scale.
// 32 bytes hold 64 elements: low nibbles the first 32, high nibbles the next 32.
void dequantize_q4_k(const std::byte* from, float* to, int64_t n) noexcept {
  for_each_block<kSuperBlock, 144>(from, to, n, [](const uint8_t* b, float* y) {
    const float d = load_half(b), dmin = load_half(b + 2);
    for (int part = 0; part < 8; ++part) {
      const ScaleMin s = scale_min(b + 4, part);
      const float dl = d * s.scale, ml = dmin * s.minimum;
      const uint8_t* q = b + 16 + part / 2 * 32;
      for (int i = 0; i < 32; ++i) y[part * 32 + i] = dl * static_cast<float>(q[i] >> part % 2 * 4 & 15) - ml;
    }
  });
}

// { half d, dmin; u8 scales[12]; u8 high[32]; u8 q[128]; }   as q4_k, with bit `part` of high[i] as the fifth bit
void dequantize_q5_k(const std::byte* from, float* to, int64_t n) noexcept {
  for_each_block<kSuperBlock, 176>(from, to, n, [](const uint8_t* b, float* y) {
    const float d = load_half(b), dmin = load_half(b + 2);
    const uint8_t* high = b + 16;
    for (int part = 0; part < 8; ++part) {
      const ScaleMin s = scale_min(b + 4, part);
      const float dl = d * s.scale, ml = dmin * s.minimum;
      const uint8_t* q = b + 48 + part / 2 * 32;
      for (int i = 0; i < 32; ++i) {
        const int value = (q[i] >> part % 2 * 4 & 15) | (high[i] >> part & 1) << 4;
        y[part * 32 + i] = dl * static_cast<float>(value) - ml;
      }
    }
  });
}

// { u8 low[128]; u8 high[64]; i8 scales[16]; half d; }   y = d * scale * ((low | high << 4) - 32); 16 elements a scale.
// Of each 128 elements: 64 low bytes (low nibbles elements 0..63, high nibbles 64..127), 32 high bytes (2 bits each
// 32).
void dequantize_q6_k(const std::byte* from, float* to, int64_t n) noexcept {
  for_each_block<kSuperBlock, 210>(from, to, n, [](const uint8_t* b, float* y) {
    const uint8_t *low = b, *high = b + 128, *scales = b + 192;
    const float d = load_half(b + 208);
    for (int i = 0; i < kSuperBlock; ++i) {
      const int half = i / 128, in_half = i % 128;
      const int low_bits = low[half * 64 + in_half % 64] >> in_half / 64 * 4 & 15;
      const int high_bits = high[half * 32 + in_half % 32] >> in_half / 32 * 2 & 3;
      const float dl = d * static_cast<float>(static_cast<int8_t>(scales[i / 16]));
      y[i] = dl * static_cast<float>((low_bits | high_bits << 4) - 32);
    }
  });
}

// { half d; u16 scales_high; u8 scales_low[4]; u8 q[128]; }   y = d * (scale - 32) * table[q]; 32 elements a scale, in
// 16 bytes: low nibbles the first 16 elements, high nibbles the next 16.
void dequantize_iq4_xs(const std::byte* from, float* to, int64_t n) noexcept {
  for_each_block<kSuperBlock, 136>(from, to, n, [](const uint8_t* b, float* y) {
    const float d = load_half(b);
    const int scales_high = load_u16(b + 2);
    for (int part = 0; part < 8; ++part) {
      const int scale = (b[4 + part / 2] >> part % 2 * 4 & 15) | (scales_high >> part * 2 & 3) << 4;
      const float dl = d * static_cast<float>(scale - 32);
      const uint8_t* q = b + 8 + part * 16;
      for (int i = 0; i < 16; ++i) {
        y[part * 32 + i] = dl * static_cast<float>(kIq4Values[q[i] & 15]);
        y[part * 32 + i + 16] = dl * static_cast<float>(kIq4Values[q[i] >> 4]);
      }
    }
  });
}

}  // namespace caravan::kernels
