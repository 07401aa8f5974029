// Products with packed weights (packed.h). Compiled once per instruction set; CARAVAN_PACKED names the resulting table.
//
// A type is how the planes of a group become its eight quads, and where its scales lie. Weights are d q - offset d or
// d q + m: a symmetric type's offset goes into the integer sums, a minimum is multiplied with the inputs' total.
#include "caravan/kernels/packed.h"

#include "caravan/kernels/quads.h"

namespace caravan::kernels {
namespace {

// --- values --------------------------------------------------------------------------------------------------------
// quad<J>(p): quad J of the group whose planes begin at p. Two quads of a plane load it twice: that is free, where
// sixteen unpacked quads would not stay in registers.

struct FourBits {
  static constexpr int kBytes = 256;
  template <int J>
  static Quads quad(const uint8_t* p) {
    return bits<J / 4 * 4, 15>(load_quads(p + 64 * (J % 4)));
  }
};

struct CodeBook {  // of iq4_nl and iq4_xs, made unsigned by the offset 128
  static constexpr int kBytes = 256;
  template <int J>
  static Quads quad(const uint8_t* p) {
    const SignedBytes table = {1, 24, 45, 63, 79, 93, 106, 118, -127, -115, -103, -90, -75, -59, -39, -15};
    return look_up_quads(table, FourBits::quad<J>(p));
  }
};

struct FiveBits {
  static constexpr int kBytes = 320;
  template <int J>
  static Quads quad(const uint8_t* p) {
    return both(FourBits::quad<J>(p), bits<J - 4, 16>(load_quads(p + 256)));
  }
};

struct SixBits {
  static constexpr int kBytes = 384;
  template <int J>
  static Quads quad(const uint8_t* p) {
    return both(FourBits::quad<J>(p), bits<2 * (J % 4) - 4, 0x30>(load_quads(p + 256 + 64 * (J / 4))));
  }
};

struct TwoBits {
  static constexpr int kBytes = 128;
  template <int J>
  static Quads quad(const uint8_t* p) {
    return bits<2 * (J % 4), 3>(load_quads(p + 64 * (J / 4)));
  }
};

struct ThreeBits {
  static constexpr int kBytes = 192;
  template <int J>
  static Quads quad(const uint8_t* p) {
    return both(TwoBits::quad<J>(p), bits<J - 2, 4>(load_quads(p + 128)));
  }
};

struct EightBits {
  static constexpr int kBytes = 512;
  template <int J>
  static Quads quad(const uint8_t* p) {
    return load_quads(p + 64 * J);
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

// Where a tile's next group lies: its values, its scales and their header.
struct GroupBytes {
  const uint8_t *values, *scales, *header;
};

// These quads of one group of R tiles into their sums of M inputs, scaled. A quad and an input's quad meet R x M times.
template <class T, int R, int M, int... kQuads>
inline void add_quads(const GroupBytes* tiles, const InputGroup* x, int64_t groups, Floats (*sums)[M]) {
  constexpr bool kWhole = sizeof...(kQuads) == 8;
  constexpr int kHalf = !kWhole && ((kQuads >= 4) && ...) ? 1 : 0;
  Sum products[R][M];
  CARAVAN_UNROLL
  for (int i = 0; i < M; ++i) {
    const InputGroup& g = x[i * groups];
    const Sum offset = start(-T::kOffset * (kWhole ? g.sums[0] + g.sums[1] : g.sums[kHalf]));
    for (int r = 0; r < R; ++r) products[r][i] = offset;
  }
  const auto add_quad = [&]<int kQuad>() __attribute__((always_inline)) {
    Quads w[R];
    for (int r = 0; r < R; ++r) w[r] = T::Values::template quad<kQuad>(tiles[r].values);
    CARAVAN_UNROLL
    for (int i = 0; i < M; ++i) {
      const InputQuad input = load_input(x[i * groups], kQuad);
      for (int r = 0; r < R; ++r) add_product(products[r][i], w[r], input);
    }
  };
  (add_quad.template operator()<kQuads>(), ...);
  for (int r = 0; r < R; ++r) {
    const Floats scale = T::Scales::scale(tiles[r].header, tiles[r].scales, kHalf);
    const Floats minimum = T::Scales::minimum(tiles[r].header, tiles[r].scales, kHalf);
    CARAVAN_UNROLL
    for (int i = 0; i < M; ++i) {
      const InputGroup& g = x[i * groups];
      sums[r][i] = multiply_add(to_floats(products[r][i]), multiply(scale, all(g.scale)), sums[r][i]);
      if constexpr (T::Scales::kMinimum) {
        const float total = kWhole ? g.total : g.scale * static_cast<float>(g.sums[kHalf]);
        sums[r][i] = multiply_add(minimum, all(total), sums[r][i]);
      }
    }
  }
}

// What will be read some groups later. A core's own prefetching ends at every page and every change of stream. Measured
// on Zen 5: decoding with q4_0 is 1.25 times as fast with 8 KiB ahead as with 4, on one thread and on two; 16 KiB are
// worse for wider types.
template <int kBytes>
inline void prefetch(const uint8_t* p) {
  constexpr int kAhead = 8192;
  CARAVAN_UNROLL
  for (int i = 0; i < kBytes; i += 64) __builtin_prefetch(p + kAhead + i);
}

template <class T>
inline int64_t bytes_of_tile(int64_t groups) {
  return (groups * (T::Values::kBytes + T::Scales::kGroup) + groups / T::Scales::kParts * T::Scales::kHeader + 63) /
         64 * 64;
}

// R tiles against M inputs; `rows` are left of the matrix, so that the last tile may have fewer than sixteen.
template <class T, int R, int M>
void multiply_tiles(const uint8_t* tiles, const InputGroup* x, float* y, const PackedShape& shape, int64_t rows) {
  const int64_t groups = shape.width / kGroupColumns;
  GroupBytes at[R];
  for (int r = 0; r < R; ++r) {
    at[r].values = tiles + r * bytes_of_tile<T>(groups);
    at[r].header = at[r].values + groups * T::Values::kBytes;
  }
  Floats sums[R][M];
  for (auto& row : sums) {
    for (Floats& sum : row) sum = zeros();
  }
  for (int64_t g = 0; g < groups; g += T::Scales::kParts) {
    for (int r = 0; r < R; ++r) at[r].scales = at[r].header + T::Scales::kHeader;
    for (int part = 0; part < T::Scales::kParts; ++part, ++x) {
      for (int r = 0; r < R; ++r) {
        prefetch<T::Values::kBytes>(at[r].values);
        prefetch<T::Scales::kGroup>(at[r].scales);
      }
      if constexpr (T::Scales::kHalves) {
        add_quads<T, R, M, 0, 1, 2, 3>(at, x, groups, sums);
        add_quads<T, R, M, 4, 5, 6, 7>(at, x, groups, sums);
      } else {
        add_quads<T, R, M, 0, 4, 1, 5, 2, 6, 3, 7>(at, x, groups, sums);  // planes of four bits one after another
      }
      for (int r = 0; r < R; ++r) {
        at[r].values += T::Values::kBytes;
        at[r].scales += T::Scales::kGroup;
      }
    }
    for (int r = 0; r < R; ++r) at[r].header = at[r].scales;
  }
  for (int r = 0; r < R; ++r) {
    const int64_t own = rows - r * kTileRows;
    for (int i = 0; i < M; ++i) {
      float* to = y + i * shape.stride + r * kTileRows;
      if (own >= kTileRows) {
        store(sums[r][i], to);
      } else {
        float out[kTileRows];
        store(sums[r][i], out);
        memcpy(to, out, static_cast<size_t>(own) * sizeof(float));
      }
    }
  }
}

// The same against any number of inputs; those that do not fill a block meet one tile after another.
template <class T, int R>
void multiply_inputs(const uint8_t* tiles, const InputGroup* x, float* y, const PackedShape& shape, int64_t rows,
                     int64_t inputs) {
  const int64_t groups = shape.width / kGroupColumns;
  for (; inputs >= kMostInputs; inputs -= kMostInputs, x += kMostInputs * groups, y += kMostInputs * shape.stride)
    multiply_tiles<T, R, kMostInputs>(tiles, x, y, shape, rows);
  if constexpr (kMostInputs > 1) {
    if (inputs == 0) return;
    const auto rest = inputs == 1   ? multiply_tiles<T, 1, 1>
                      : inputs == 2 ? multiply_tiles<T, 1, 2>
                                    : multiply_tiles<T, 1, 3>;
    for (int r = 0; r < R; ++r)
      rest(tiles + r * bytes_of_tile<T>(groups), x, y + r * kTileRows, shape, rows - r * kTileRows);
  }
}

// As many tiles and inputs at a time as keep their sums in registers; a chunk of inputs stays in the second-level
// cache.
template <class T>
void multiply_packed(const uint8_t* tiles, const InputGroup* inputs, float* y, const PackedShape& shape) {
  constexpr int64_t kChunkBytes = 512 << 10, kBlockRows = kMostTiles * kTileRows;
  const int64_t groups = shape.width / kGroupColumns, bytes = bytes_of_tile<T>(groups);
  const int64_t fitting = kChunkBytes / (groups * static_cast<int64_t>(sizeof *inputs)) / kMostInputs * kMostInputs;
  const int64_t chunk = fitting > kMostInputs ? fitting : kMostInputs;
  for (int64_t first = 0; first < shape.inputs; first += chunk) {
    const int64_t count = shape.inputs - first < chunk ? shape.inputs - first : chunk;
    const InputGroup* x = inputs + first * groups;
    const uint8_t* tile = tiles;
    float* to = y + first * shape.stride;
    int64_t rows = shape.rows;
    for (; rows > kBlockRows - kTileRows; rows -= kBlockRows, tile += kMostTiles * bytes, to += kBlockRows)
      multiply_inputs<T, kMostTiles>(tile, x, to, shape, rows, count);
    for (; rows > 0; rows -= kTileRows, tile += bytes, to += kTileRows)
      multiply_inputs<T, 1>(tile, x, to, shape, rows, count);
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
    if (largest_bits >= 0x7f800000) {
      *to = {.scale = __builtin_nanf("")};
      continue;
    }
    const bool tiny = largest < 1e-30f;
    store_rounded(x, tiny ? 0.0f : kLargest / largest, *to);
    to->scale = tiny ? 0.0f : largest / kLargest;
    to->total = to->scale * static_cast<float>(to->sums[0] + to->sums[1]);
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
