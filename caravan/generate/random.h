// Random numbers for sampling: xoshiro256++ (Blackman, Vigna 2019), seeded by SplitMix64 from a seed and a stream
// number. Every sequence has its own stream, so its tokens do not depend on what else is in the batch.
//
//   Random random(seed, sequence);
//   double u = random.uniform();       // [0, 1)
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace caravan::generate {

class Random {
 public:
  explicit Random(uint64_t seed = 0, uint64_t stream = 0);
  uint64_t next();
  double uniform();      // [0, 1), 53 bits
  double exponential();  // mean 1, > 0

 private:
  std::array<uint64_t, 4> state_;
};

// An index drawn with the weights (not negative, any sum above 0) by inverse CDF. invalid_argument where the sum is 0
// or not finite.
int32_t draw(std::span<const float> weights, Random& random);

}  // namespace caravan::generate
