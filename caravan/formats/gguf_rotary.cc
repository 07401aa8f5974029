#include "caravan/formats/gguf_rotary.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

namespace caravan::formats {
namespace {

constexpr double kTolerance = 1e-5;  // float factors, computed by two powf implementations

template <class Copy>
void for_each_row(const RotaryRows& shape, Copy copy) {  // copy(huggingface row, gguf row)
  const int64_t width = shape.rows / shape.heads, pairs = width / 2;
  for (int64_t head = 0; head < shape.heads; ++head) {
    for (int64_t i = 0; i < pairs; ++i) {
      copy(head * width + i, head * width + 2 * i);
      copy(head * width + pairs + i, head * width + 2 * i + 1);
    }
  }
}

float wavelength(double theta, int64_t i, int64_t pairs) {
  const float exponent = static_cast<float>(2 * i) / static_cast<float>(2 * pairs);
  const float frequency = 1.0f / std::pow(static_cast<float>(theta), exponent);
  return static_cast<float>(2 * std::numbers::pi) / frequency;
}

bool fits(const Llama3Scaling& scaling, std::span<const float> factors, double theta) {
  const std::vector<float> made = llama3_frequency_factors(scaling, theta, static_cast<int64_t>(factors.size()));
  return std::equal(made.begin(), made.end(), factors.begin(),
                    [](float a, float b) { return std::abs(a - b) <= kTolerance * std::abs(b); });
}

// Between the plateaus s = (1/f - 1/F) / (1 - 1/F) = A / wavelength - B, with A = original / (high - low) and
// B = low / (high - low): two points give both, and low = 1 fixes the scale that factors do not tell.
std::optional<Llama3Scaling> solve(std::span<const float> factors, double theta, double factor) {
  const auto pairs = static_cast<int64_t>(factors.size());
  std::vector<int64_t> between;
  for (int64_t i = 0; i < pairs; ++i) {
    if (factors[i] > 1 + kTolerance && factors[i] < factor * (1 - kTolerance)) between.push_back(i);
  }
  if (between.size() < 2) return std::nullopt;
  const auto smooth = [&](int64_t i) { return (1 / static_cast<double>(factors[i]) - 1 / factor) / (1 - 1 / factor); };
  const int64_t first = between.front(), last = between.back();
  const double x0 = 1 / wavelength(theta, first, pairs), x1 = 1 / wavelength(theta, last, pairs);
  const double a = (smooth(first) - smooth(last)) / (x0 - x1), b = a * x0 - smooth(first);
  if (!(a > 0) || !(b > 0)) return std::nullopt;
  const double original = a / b, rounded = std::max(1.0, std::round(original)), scale = rounded / original;
  return Llama3Scaling{factor, scale, scale * (1 + 1 / b), rounded};
}

}  // namespace

void rows_to_huggingface(const RotaryRows& shape, std::span<const std::byte> from, std::span<std::byte> to) {
  const auto bytes = static_cast<size_t>(shape.row_bytes);
  for_each_row(shape, [&](int64_t huggingface, int64_t gguf) {
    std::memcpy(to.data() + huggingface * shape.row_bytes, from.data() + gguf * shape.row_bytes, bytes);
  });
}

void rows_to_gguf(const RotaryRows& shape, std::span<const std::byte> from, std::span<std::byte> to) {
  const auto bytes = static_cast<size_t>(shape.row_bytes);
  for_each_row(shape, [&](int64_t huggingface, int64_t gguf) {
    std::memcpy(to.data() + gguf * shape.row_bytes, from.data() + huggingface * shape.row_bytes, bytes);
  });
}

std::vector<float> llama3_frequency_factors(const Llama3Scaling& scaling, double theta, int64_t pairs) {
  const auto factor = static_cast<float>(scaling.factor), low = static_cast<float>(scaling.low_freq_factor),
             high = static_cast<float>(scaling.high_freq_factor);
  const auto original = static_cast<float>(scaling.original_max_position_embeddings);
  std::vector<float> factors(static_cast<size_t>(pairs));
  for (int64_t i = 0; i < pairs; ++i) {
    const float length = wavelength(theta, i, pairs);
    if (length < original / high) {
      factors[i] = 1;
    } else if (length > original / low) {
      factors[i] = factor;
    } else {
      const float smooth = (original / length - low) / (high - low);
      factors[i] = 1 / ((1 - smooth) / factor + smooth);
    }
  }
  return factors;
}

std::optional<Llama3Scaling> find_llama3_scaling(std::span<const float> factors, double theta, double original_hint) {
  if (factors.empty()) return std::nullopt;
  const double factor = *std::max_element(factors.begin(), factors.end());
  if (!(factor > 1) || !std::isfinite(factor)) return std::nullopt;
  std::vector<double> originals = {8192};
  if (original_hint > 0) originals.insert(originals.begin(), original_hint);
  for (double n = 16; n <= 1 << 20; n *= 2) originals.push_back(n);
  for (double original : originals) {
    const Llama3Scaling usual{.factor = factor, .original_max_position_embeddings = original};
    if (fits(usual, factors, theta)) return usual;
  }
  const std::optional<Llama3Scaling> solved = solve(factors, theta, factor);
  if (!solved) return std::nullopt;
  Llama3Scaling plain = *solved;  // as somebody would have written it, where that fits as well
  plain.low_freq_factor = std::round(plain.low_freq_factor * 1000) / 1000;
  plain.high_freq_factor = std::round(plain.high_freq_factor * 1000) / 1000;
  if (plain.low_freq_factor > 0 && plain.high_freq_factor > plain.low_freq_factor && fits(plain, factors, theta))
    return plain;
  return fits(*solved, factors, theta) ? solved : std::nullopt;
}

}  // namespace caravan::formats
