// xoshiro256++ and the inverse CDF draw.
#include "caravan/generate/random.h"

#include <bit>
#include <cmath>

#include "caravan/base/error.h"

namespace caravan::generate {
namespace {

uint64_t split_mix(uint64_t& state) {
  uint64_t z = (state += 0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

}  // namespace

Random::Random(uint64_t seed, uint64_t stream) {
  uint64_t mixed = stream + 0x632be59bd9b4e019ull;
  uint64_t state = seed ^ split_mix(mixed);
  for (uint64_t& word : state_) word = split_mix(state);
}

uint64_t Random::next() {
  const uint64_t result = std::rotl(state_[0] + state_[3], 23) + state_[0];
  const uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

double Random::uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

double Random::exponential() { return -std::log1p(-uniform()) + 0x1.0p-60; }

int32_t draw(std::span<const float> weights, Random& random) {
  double sum = 0;
  for (float weight : weights) sum += weight;
  check(std::isfinite(sum) && sum > 0, ErrorCode::invalid_argument,
        "no token can be drawn: the probabilities sum to {} (all tokens banned, or the model gave non-finite scores; "
        "remove_invalid_values repairs the latter)",
        sum);
  double left = random.uniform() * sum;
  int32_t last = 0;
  for (int32_t i = 0; i < std::ssize(weights); ++i) {
    if (!(weights[i] > 0)) continue;
    last = i;
    left -= weights[i];
    if (left < 0) break;
  }
  return last;
}

}  // namespace caravan::generate
