// Every conversion goes through one float: widening to it is exact, and narrowing from it rounds once. A double is
// first rounded to odd: the lost bits stay visible in the last one, so that the second rounding is right (Boldo and
// Melquiond, "When double rounding is odd", 2004). The 16-bit forms follow the branch-free code of the FP16 library.
#include "caravan/formats/cast.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "caravan/base/error.h"

namespace caravan::formats {
namespace {

uint32_t bits(float f) { return std::bit_cast<uint32_t>(f); }
float float_of(uint32_t b) { return std::bit_cast<float>(b); }

struct Half {
  using Stored = uint16_t;
  static float widen(Stored h) {
    const uint32_t w = static_cast<uint32_t>(h) << 16, sign = w & 0x80000000u, twice = w + w;
    const float normal = float_of((twice >> 4) + (0xE0u << 23)) * 0x1.0p-112f;  // infinity and NaN too
    const float subnormal = float_of((twice >> 17) | (126u << 23)) - 0.5f;
    return float_of(sign | (twice < (1u << 27) ? bits(subnormal) : bits(normal)));
  }
  static Stored narrow(float f) {
    // Adding a power of two chosen from f's exponent makes the FPU round at the tenth mantissa bit.
    const uint32_t w = bits(f), twice = w + w, sign = w & 0x80000000u;
    const float overflowing = (std::fabs(f) * 0x1.0p+112f) * 0x1.0p-110f;  // infinity from 2^16 on
    const uint32_t bias = std::max(twice & 0xFF000000u, 0x71000000u);
    const uint32_t rounded = bits(float_of((bias >> 1) + 0x07800000u) + overflowing);
    const uint32_t magnitude = ((rounded >> 13) & 0x7C00u) + (rounded & 0x0FFFu);
    return static_cast<Stored>((sign >> 16) | (twice > 0xFF000000u ? 0x7E00u : magnitude));
  }
};

struct BFloat16 {
  using Stored = uint16_t;
  static float widen(Stored b) { return float_of(static_cast<uint32_t>(b) << 16); }
  static Stored narrow(float f) {
    const uint32_t w = bits(f);
    const uint32_t rounded = (w + 0x7FFFu + ((w >> 16) & 1u)) >> 16;
    const uint32_t quiet_nan = (w >> 16) | 0x0040u;
    return static_cast<Stored>((w & 0x7FFFFFFFu) > 0x7F800000u ? quiet_nan : rounded);
  }
};

struct Single {
  using Stored = float;
  static float widen(float f) { return f; }
  static float narrow(float f) { return f; }
};

struct Double {
  using Stored = double;
  static float widen(double d) {  // rounded to odd
    const float f = static_cast<float>(d);
    if (static_cast<double>(f) == d || std::isnan(d)) return f;
    if ((bits(f) & 1u) != 0 && std::isfinite(f)) return f;
    // f is even and not d: the neighbour on d's side is odd.
    const bool away = std::fabs(static_cast<double>(f)) < std::fabs(d);
    return float_of(bits(std::copysign(f, static_cast<float>(std::signbit(d) ? -1 : 1))) + (away ? 1 : -1));
  }
  static double narrow(float f) { return f; }
};

// One byte: `mantissa` bits, the rest of seven the exponent. E4M3 ("fn") has no infinity, and NaN only where all are
// ones.
template <int mantissa, bool has_infinity>
struct Eighth {
  using Stored = uint8_t;
  static float widen(Stored b) {
    static const std::array<float, 256> table = make_table();
    return table[b];
  }
  static std::array<float, 256> make_table() {
    std::array<float, 256> table;
    constexpr int kBias = (1 << (6 - mantissa)) - 1, kExponents = 1 << (7 - mantissa), kMantissas = 1 << mantissa;
    for (int b = 0; b < 128; ++b) {
      const int exponent = b >> mantissa, fraction = b & (kMantissas - 1);
      const int significand = exponent == 0 ? fraction : fraction + kMantissas;
      float value = std::ldexp(static_cast<float>(significand), std::max(exponent, 1) - kBias - mantissa);
      const bool special = exponent == kExponents - 1 && (has_infinity || fraction == kMantissas - 1);
      if (special) value = has_infinity && fraction == 0 ? INFINITY : std::numeric_limits<float>::quiet_NaN();
      table[static_cast<size_t>(b)] = value;
      table[static_cast<size_t>(b + 128)] = -value;
    }
    return table;
  }
};

template <class From, class To>
void cast_all(const std::byte* from, std::byte* to, size_t n) {
  typename From::Stored in;
  typename To::Stored out;
  for (size_t i = 0; i < n; ++i) {  // memcpy: a tensor may lie at any address
    std::memcpy(&in, from + i * sizeof in, sizeof in);
    if constexpr (std::is_same_v<From, Double> && std::is_same_v<To, Single>) {
      out = static_cast<float>(in);
    } else {
      out = To::narrow(From::widen(in));
    }
    std::memcpy(to + i * sizeof out, &out, sizeof out);
  }
}

using Cast = void (*)(const std::byte*, std::byte*, size_t);

template <class From>
Cast cast_from(DType to) {
  switch (to) {
    case DType::f64:
      return cast_all<From, Double>;
    case DType::f32:
      return cast_all<From, Single>;
    case DType::f16:
      return cast_all<From, Half>;
    case DType::bf16:
      return cast_all<From, BFloat16>;
    default:
      return nullptr;
  }
}

Cast find_cast(DType from, DType to) {
  switch (from) {
    case DType::f64:
      return cast_from<Double>(to);
    case DType::f32:
      return cast_from<Single>(to);
    case DType::f16:
      return cast_from<Half>(to);
    case DType::bf16:
      return cast_from<BFloat16>(to);
    case DType::f8_e4m3:
      return cast_from<Eighth<3, false>>(to);
    case DType::f8_e5m2:
      return cast_from<Eighth<2, true>>(to);
    default:
      return nullptr;
  }
}

}  // namespace

bool can_cast(DType from, DType to) { return from == to || find_cast(from, to) != nullptr; }

void cast_elements(DType from, std::span<const std::byte> from_bytes, DType to, std::span<std::byte> to_bytes) {
  check(can_cast(from, to), ErrorCode::unsupported, "{} cannot be converted to {}", to_string(from), to_string(to));
  const auto from_size = static_cast<size_t>(dtype_info(from).block_bytes),
             to_size = static_cast<size_t>(dtype_info(to).block_bytes);
  const size_t n = from_bytes.size() / from_size;
  check(n * from_size == from_bytes.size() && n * to_size == to_bytes.size(), ErrorCode::invalid_argument,
        "{} bytes of {} do not become {} bytes of {}", from_bytes.size(), to_string(from), to_bytes.size(),
        to_string(to));
  if (from_bytes.empty()) return;
  if (from == to) {
    std::memcpy(to_bytes.data(), from_bytes.data(), from_bytes.size());
  } else {
    find_cast(from, to)(from_bytes.data(), to_bytes.data(), n);
  }
}

}  // namespace caravan::formats
