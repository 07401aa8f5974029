// Products with packed weights (packed.h). Compiled once per instruction set; CARAVAN_PACKED names the resulting table.
//
// A type is how the planes of a group become its eight quads, and where its scales lie. Weights are d q - offset d or
// d q + m: a symmetric type's offset goes into the integer sums, a minimum is multiplied with the inputs' total.
#include "caravan/kernels/packed.h"

#include "caravan/kernels/quads.h"

namespace caravan::kernels {
namespace {

// --- values --------------------------------------------------------------------------------------------------------

struct FourBits {
  static constexpr int kBytes = 256;
  static void unpack(const uint8_t* p, Quads* q) {
    CARAVAN_UNROLL
    for (int j = 0; j < 4; ++j) {
      const Quads plane = load_quads(p + 64 * j);
      q[j] = bits<0, 15>(plane);
      q[j + 4] = bits<4, 15>(plane);
    }
  }
};

struct CodeBook {  // of iq4_nl and iq4_xs, made unsigned by the offset 128
  static constexpr int kBytes = 256;
  static void unpack(const uint8_t* p, Quads* q) {
    const SignedBytes table = {1, 24, 45, 63, 79, 93, 106, 118, -127, -115, -103, -90, -75, -59, -39, -15};
    FourBits::unpack(p, q);
    CARAVAN_UNROLL
    for (int j = 0; j < 8; ++j) q[j] = look_up_quads(table, q[j]);
  }
};

// Bit j of every byte of the plane, moved to bit kTo.
template <int kTo, int... kQuads>
inline void or_bits(const Quads& plane, Quads* q) {
  ((q[kQuads] = both(q[kQuads], bits<kQuads - kTo, 1 << kTo>(plane))), ...);
}

struct FiveBits {
  static constexpr int kBytes = 320;
  static void unpack(const uint8_t* p, Quads* q) {
    FourBits::unpack(p, q);
    or_bits<4, 0, 1, 2, 3, 4, 5, 6, 7>(load_quads(p + 256), q);
  }
};

struct SixBits {
  static constexpr int kBytes = 384;
  static void unpack(const uint8_t* p, Quads* q) {
    FourBits::unpack(p, q);
    CARAVAN_UNROLL
    for (int i = 0; i < 2; ++i) {
      const Quads plane = load_quads(p + 256 + 64 * i);
      q[4 * i] = both(q[4 * i], bits<-4, 0x30>(plane));
      q[4 * i + 1] = both(q[4 * i + 1], bits<-2, 0x30>(plane));
      q[4 * i + 2] = both(q[4 * i + 2], bits<0, 0x30>(plane));
      q[4 * i + 3] = both(q[4 * i + 3], bits<2, 0x30>(plane));
    }
  }
};

struct TwoBits {
  static constexpr int kBytes = 128;
  static void unpack(const uint8_t* p, Quads* q) {
    CARAVAN_UNROLL
    for (int i = 0; i < 2; ++i) {
      const Quads plane = load_quads(p + 64 * i);
      q[4 * i] = bits<0, 3>(plane);
      q[4 * i + 1] = bits<2, 3>(plane);
      q[4 * i + 2] = bits<4, 3>(plane);
      q[4 * i + 3] = bits<6, 3>(plane);
    }
  }
};

struct ThreeBits {
  static constexpr int kBytes = 192;
  static void unpack(const uint8_t* p, Quads* q) {
    TwoBits::unpack(p, q);
    or_bits<2, 0, 1, 2, 3, 4, 5, 6, 7>(load_quads(p + 128), q);
  }
};

struct EightBits {
  static constexpr int kBytes = 512;
  static void unpack(const uint8_t* p, Quads* q) {
    CARAVAN_UNROLL
    for (int j = 0; j < 8; ++j) q[j] = load_quads(p + 64 * j);
  }
};

// --- scales ----------------------------------------------------------------------------------------------------------
// kParts: groups that share a header. kHalves: a scale of its own for each 16 columns.

inline Floats unsigned_bytes(const uint8_t* p) { return to_floats(load(p)); }
inline Floats signed_bytes(const uint8_t* p) { return to_floats(reinterpret_cast<SignedBytes>(load(p))); }

struct Half {  // d
  static constexpr int kParts = 1, kHeader = 0, kGroup = 32;
  static constexpr bool kHalves = false, kMinimum = false;
  static Floats scale(const uint8_t*, const uint8_t* group, int) { return load_halves(group); }
  static Floats minimum(const uint8_t*, const uint8_t*, int) { return zeros(); }
};

struct HalfAndMinimum {  // d, m
  static constexpr int kParts = 1, kHeader = 0, kGroup = 64;
  static constexpr bool kHalves = false, kMinimum = true;
  static Floats scale(const uint8_t*, const uint8_t* group, int) { return load_halves(group); }
  static Floats minimum(const uint8_t*, const uint8_t* group, int) { return load_halves(group + 32); }
};

struct BytesAndMinima {  // header d, dmin; a scale and a minimum a group
  static constexpr int kParts = 8, kHeader = 64, kGroup = 32;
  static constexpr bool kHalves = false, kMinimum = true;
  static Floats scale(const uint8_t* header, const uint8_t* group, int) {
    return multiply(load_halves(header), unsigned_bytes(group));
  }
  static Floats minimum(const uint8_t* header, const uint8_t* group, int) {
    return multiply(all(-1.0f), multiply(load_halves(header + 32), unsigned_bytes(group + 16)));
  }
};

struct HalvesAndMinima {  // header d, dmin; a byte with scale and minimum for each 16 columns
  static constexpr int kParts = 8, kHeader = 64, kGroup = 32;
  static constexpr bool kHalves = true, kMinimum = true;
  static Floats scale(const uint8_t* header, const uint8_t* group, int half) {
    return multiply(load_halves(header), to_floats(load(group + 16 * half) & 15));
  }
  static Floats minimum(const uint8_t* header, const uint8_t* group, int half) {
    return multiply(all(-1.0f), multiply(load_halves(header + 32), to_floats(load(group + 16 * half) >> 4)));
  }
};

struct SignedHalves {  // header d; a signed scale for each 16 columns
  static constexpr int kParts = 8, kHeader = 32, kGroup = 32;
  static constexpr bool kHalves = true, kMinimum = false;
  static Floats scale(const uint8_t* header, const uint8_t* group, int half) {
    return multiply(load_halves(header), signed_bytes(group + 16 * half));
  }
  static Floats minimum(const uint8_t*, const uint8_t*, int) { return zeros(); }
};

struct SignedBytesScale {  // header d; a signed scale a group
  static constexpr int kParts = 8, kHeader = 32, kGroup = 16;
  static constexpr bool kHalves = false, kMinimum = false;
  static Floats scale(const uint8_t* header, const uint8_t* group, int) {
    return multiply(load_halves(header), signed_bytes(group));
  }
  static Floats minimum(const uint8_t*, const uint8_t*, int) { return zeros(); }
};

// --- products ------------------------------------------------------------------------------------------------------

template <class ValuesOf, class ScalesOf, int kOffsetOf>
struct Type {
  using Values = ValuesOf;
  using Scales = ScalesOf;
  static constexpr int kOffset = kOffsetOf;
};

// Quads [from, to) of one group into the sums of M inputs, scaled.
template <class T, int M, int kFrom, int kTo>
inline void add_quads(const Quads* w, const uint8_t* header, const uint8_t* scales, const InputGroup* x, int64_t groups,
                      Floats* sums) {
  constexpr int kHalf = kFrom / 4;
  constexpr bool kWhole = kTo - kFrom == 8;
  Sum products[M];
  CARAVAN_UNROLL
  for (int i = 0; i < M; ++i) {
    const InputGroup& g = x[i * groups];
    products[i] = start(-T::kOffset * (kWhole ? g.sums[0] + g.sums[1] : g.sums[kHalf]));
  }
  CARAVAN_UNROLL
  for (int q = kFrom; q < kTo; ++q) {
    CARAVAN_UNROLL
    for (int i = 0; i < M; ++i) add_product(products[i], w[q], x[i * groups], q);
  }
  const Floats scale = T::Scales::scale(header, scales, kHalf), minimum = T::Scales::minimum(header, scales, kHalf);
  CARAVAN_UNROLL
  for (int i = 0; i < M; ++i) {
    const InputGroup& g = x[i * groups];
    sums[i] = multiply_add(to_floats(products[i]), multiply(scale, all(g.scale)), sums[i]);
    if constexpr (T::Scales::kMinimum) {
      const float total = kWhole ? g.total : g.scale * static_cast<float>(g.sums[kHalf]);
      sums[i] = multiply_add(minimum, all(total), sums[i]);
    }
  }
}

// What will be read some groups later. A core's own prefetching ends at every page and every change of stream: measured
// on Zen 4, one thread and huge pages, 4 KiB ahead: 16.4 GB/s of q4_1 instead of 14.1, of 18.8 that it can read at all.
template <int kBytes>
inline void prefetch(const uint8_t* p) {
  constexpr int kAhead = 4096;
  CARAVAN_UNROLL
  for (int i = 0; i < kBytes; i += 64) __builtin_prefetch(p + kAhead + i);
}

// One tile against M inputs.
template <class T, int M>
void multiply_tile(const uint8_t* tile, const InputGroup* x, float* y, const PackedShape& shape, int64_t rows) {
  const int64_t groups = shape.width / kGroupColumns;
  const uint8_t* header = tile + groups * T::Values::kBytes;
  Floats sums[M];
  for (Floats& sum : sums) sum = zeros();
  for (int64_t g = 0; g < groups; g += T::Scales::kParts) {
    const uint8_t* scales = header + T::Scales::kHeader;
    for (int part = 0; part < T::Scales::kParts; ++part, ++x) {
      prefetch<T::Values::kBytes>(tile);
      prefetch<T::Scales::kGroup>(scales);
      Quads w[8];
      T::Values::unpack(tile, w);
      if constexpr (T::Scales::kHalves) {
        add_quads<T, M, 0, 4>(w, header, scales, x, groups, sums);
        add_quads<T, M, 4, 8>(w, header, scales, x, groups, sums);
      } else {
        add_quads<T, M, 0, 8>(w, header, scales, x, groups, sums);
      }
      tile += T::Values::kBytes;
      scales += T::Scales::kGroup;
    }
    header = scales;
  }
  for (int i = 0; i < M; ++i) {
    if (rows == kTileRows) {
      store(sums[i], y + i * shape.stride);
    } else {
      float out[kTileRows];
      store(sums[i], out);
      memcpy(y + i * shape.stride, out, static_cast<size_t>(rows) * sizeof(float));
    }
  }
}

// As many inputs at a time as keep their sums in registers; a chunk of inputs stays in the second-level cache.
template <class T>
void multiply_packed(const uint8_t* tiles, const InputGroup* inputs, float* y, const PackedShape& shape) {
  constexpr int64_t kChunk = 128;
  const int64_t groups = shape.width / kGroupColumns;
  const int64_t parts = T::Scales::kParts, headers = groups / parts;
  const int64_t bytes =
      (groups * (T::Values::kBytes + T::Scales::kGroup) + headers * T::Scales::kHeader + 63) / 64 * 64;
  for (int64_t chunk = 0; chunk < shape.inputs; chunk += kChunk) {
    const int64_t end = chunk + kChunk < shape.inputs ? chunk + kChunk : shape.inputs;
    const uint8_t* tile = tiles;
    for (int64_t row = 0; row < shape.rows; row += kTileRows, tile += bytes) {
      const int64_t rows = shape.rows - row < kTileRows ? shape.rows - row : kTileRows;
      int64_t i = chunk;
      const auto run = [&](auto kernel, int64_t count) {
        kernel(tile, inputs + i * groups, y + i * shape.stride + row, shape, rows);
        i += count;
      };
      while (end - i >= kMostInputs) run(multiply_tile<T, kMostInputs>, kMostInputs);
      if constexpr (kMostInputs > 1) {
        if (end - i == 3) run(multiply_tile<T, 3>, 3);
        if (end - i == 2) run(multiply_tile<T, 2>, 2);
        if (end - i == 1) run(multiply_tile<T, 1>, 1);
      }
    }
  }
}

void quantize(const float* x, InputGroup* to, int64_t groups) {
  constexpr float kLargest = 32512.0f;  // 127 * 256: its high byte, rounded, still fits
  for (int64_t g = 0; g < groups; ++g, x += kGroupColumns, ++to) {
    int32_t largest_bits = 0;  // of the absolute values; NaN and infinity are the largest of all
    for (int i = 0; i < 32; ++i) {
      int32_t b;
      memcpy(&b, x + i, 4);
      b &= 0x7fffffff;
      largest_bits = b > largest_bits ? b : largest_bits;
    }
    float largest;
    memcpy(&largest, &largest_bits, 4);
    const bool finite = largest_bits < 0x7f800000, tiny = largest < 1e-30f;
    const float inverse = finite && !tiny ? kLargest / largest : 0.0f;
    int16_t integers[32];
    int32_t sums[2] = {0, 0};
    for (int i = 0; i < 32; ++i) {
      const float scaled = finite ? x[i] * inverse : 0.0f;
      integers[i] = static_cast<int16_t>(static_cast<int32_t>(scaled + (scaled < 0.0f ? -0.5f : 0.5f)));
    }
    for (int i = 0; i < 16; ++i) sums[0] += integers[i], sums[1] += integers[i + 16];
    store_values(integers, to->values);
    to->scale = finite ? (tiny ? 0.0f : largest / kLargest) : __builtin_nanf("");
    to->sums[0] = sums[0];
    to->sums[1] = sums[1];
    to->total = to->scale * static_cast<float>(sums[0] + sums[1]);
  }
}

}  // namespace

extern const PackedTable CARAVAN_PACKED;
const PackedTable CARAVAN_PACKED = {
    quantize,
    {multiply_packed<Type<FourBits, Half, 8>>, multiply_packed<Type<FourBits, HalfAndMinimum, 0>>,
     multiply_packed<Type<FiveBits, Half, 16>>, multiply_packed<Type<FiveBits, HalfAndMinimum, 0>>,
     multiply_packed<Type<EightBits, Half, 128>>, multiply_packed<Type<TwoBits, HalvesAndMinima, 0>>,
     multiply_packed<Type<ThreeBits, SignedHalves, 4>>, multiply_packed<Type<FourBits, BytesAndMinima, 0>>,
     multiply_packed<Type<FiveBits, BytesAndMinima, 0>>, multiply_packed<Type<SixBits, SignedHalves, 32>>,
     multiply_packed<Type<CodeBook, Half, 128>>, multiply_packed<Type<CodeBook, SignedBytesScale, 128>>}};

}  // namespace caravan::kernels
