// Layouts: kernels/dequantize.cc. A level's low bits and its high bits stand in different bytes of some types.
#include "caravan/quant/grid.h"

#include <algorithm>
#include <array>
#include <vector>

#include "caravan/base/error.h"
#include "caravan/ops/dequantize.h"

namespace caravan::quant {
namespace {

// `bits` of a level from bit `from` on; those of element i go to byte(i), `shift(i)` places up.
struct Place {
  int from, bits;
  int (*byte)(int);
  int (*shift)(int);
};

struct Layout {
  DType dtype;
  std::span<const float> points;
  std::array<Place, 2> places;  // the second has no bits where one is enough
};

constexpr auto kIntegers = [] {
  std::array<float, 64> all{};
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<float>(i);
  return all;
}();
constexpr std::span<const float> integers_below(size_t n) { return std::span(kIntegers).first(n); }
constexpr std::array<float, 16> kIq4Points = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

int sixteenths(int i) { return i % 16; }
int upper_half(int i) { return i / 16 * 4; }
int eighths(int i) { return i / 8; }
int in_eight(int i) { return i % 8; }
int none(int) { return 0; }
constexpr Place kNone{0, 0, none, none};

int two_bit_byte(int i) { return i / 128 * 32 + i % 32; }
int two_bit_shift(int i) { return i % 128 / 32 * 2; }
int four_bit_byte(int i) { return i / 64 * 32 + i % 32; }
int four_bit_shift(int i) { return i / 32 % 2 * 4; }
int one_bit_shift(int i) { return i / 32; }

constexpr std::array kLayouts = std::to_array<Layout>({
    {DType::q4_0, integers_below(16), {{{0, 4, [](int i) { return 2 + sixteenths(i); }, upper_half}, kNone}}},
    {DType::q4_1, integers_below(16), {{{0, 4, [](int i) { return 4 + sixteenths(i); }, upper_half}, kNone}}},
    {DType::q5_0,
     integers_below(32),
     {{{0, 4, [](int i) { return 6 + sixteenths(i); }, upper_half},
       {4, 1, [](int i) { return 2 + eighths(i); }, in_eight}}}},
    {DType::q5_1,
     integers_below(32),
     {{{0, 4, [](int i) { return 8 + sixteenths(i); }, upper_half},
       {4, 1, [](int i) { return 4 + eighths(i); }, in_eight}}}},
    {DType::iq4_nl, kIq4Points, {{{0, 4, [](int i) { return 2 + sixteenths(i); }, upper_half}, kNone}}},
    {DType::iq4_xs,
     kIq4Points,
     {{{0, 4, [](int i) { return 8 + i / 32 * 16 + i % 16; }, [](int i) { return i / 16 % 2 * 4; }}, kNone}}},
    {DType::q2_k, integers_below(4), {{{0, 2, [](int i) { return 16 + two_bit_byte(i); }, two_bit_shift}, kNone}}},
    {DType::q3_k,
     integers_below(8),
     {{{0, 2, [](int i) { return 32 + two_bit_byte(i); }, two_bit_shift},
       {2, 1, [](int i) { return i % 32; }, one_bit_shift}}}},
    {DType::q4_k, integers_below(16), {{{0, 4, [](int i) { return 16 + four_bit_byte(i); }, four_bit_shift}, kNone}}},
    {DType::q5_k,
     integers_below(32),
     {{{0, 4, [](int i) { return 48 + four_bit_byte(i); }, four_bit_shift},
       {4, 1, [](int i) { return 16 + i % 32; }, one_bit_shift}}}},
    {DType::q6_k,
     integers_below(64),
     {{{0, 4, [](int i) { return i / 128 * 64 + i % 64; }, [](int i) { return i % 128 / 64 * 4; }},
       {4, 2, [](int i) { return 128 + two_bit_byte(i); }, two_bit_shift}}}},
});

const Layout* find_layout(DType dtype) {
  const auto it = std::find_if(kLayouts.begin(), kLayouts.end(), [&](const Layout& l) { return l.dtype == dtype; });
  return it == kLayouts.end() ? nullptr : &*it;
}

const Layout& need_layout(DType dtype) {
  const Layout* layout = find_layout(dtype);
  check(layout != nullptr, ErrorCode::unsupported, "{} has no grid", to_string(dtype));
  return *layout;
}

}  // namespace

bool has_grid(DType dtype) { return find_layout(dtype) != nullptr; }
std::span<const float> grid_points(DType dtype) { return need_layout(dtype).points; }

void put_levels(DType dtype, std::span<const uint8_t> levels, std::span<std::byte> block) {
  for (const Place& place : need_layout(dtype).places) {
    const int mask = (1 << place.bits) - 1;
    for (int i = 0; i < std::ssize(levels) && place.bits > 0; ++i) {
      auto& byte = reinterpret_cast<uint8_t&>(block[static_cast<size_t>(place.byte(i))]);
      const int shift = place.shift(i), level = levels[static_cast<size_t>(i)] >> place.from & mask;
      byte = static_cast<uint8_t>((byte & ~(mask << shift)) | level << shift);
    }
  }
}

void read_grid(DType dtype, std::span<const std::byte> block, std::span<float> start, std::span<float> step) {
  const std::span<const float> points = grid_points(dtype);
  std::vector<std::byte> copy(block.begin(), block.end());
  std::vector<uint8_t> levels(start.size(), 0);
  put_levels(dtype, levels, copy);
  ops::dequantize(dtype, copy.data(), start.data(), std::ssize(start));
  std::fill(levels.begin(), levels.end(), static_cast<uint8_t>(points.size() - 1));
  put_levels(dtype, levels, copy);
  ops::dequantize(dtype, copy.data(), step.data(), std::ssize(step));
  for (size_t i = 0; i < step.size(); ++i) {
    step[i] = (step[i] - start[i]) / (points.back() - points.front());
    start[i] -= step[i] * points.front();
  }
}

}  // namespace caravan::quant
