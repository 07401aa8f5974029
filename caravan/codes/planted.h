// Vectors with codes that are known: sums of one centre a level, each level's centres a tenth as far apart. Tests only.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "caravan/codes/linear_algebra.h"

namespace caravan::codes {

struct Planted {
  at::Tensor vectors;                       // [N, D]
  std::vector<std::vector<int32_t>> codes;  // [levels][N]
};

// Every combination of codes occurs `copies` times, with a little noise, in a seeded order.
inline Planted plant(const std::vector<int64_t>& sizes, int64_t width, int64_t copies, uint64_t seed) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  std::vector<at::Tensor> centres;
  double spread = 100.0;
  for (int64_t size : sizes) {
    // Orthogonal directions of equal length: every pair of centres is equally far apart.
    const at::Tensor q = std::get<0>(at::linalg_qr(at::randn({width, width}, generator, at::kFloat)));
    at::Tensor own = q.slice(0, 0, size) * spread;
    centres.push_back(own - own.mean(0));
    spread /= 10.0;
  }
  int64_t tuples = 1;
  for (int64_t size : sizes) tuples *= size;
  const int64_t n = tuples * copies;
  Planted planted;
  planted.codes.assign(sizes.size(), std::vector<int32_t>(n));
  Random random(seed);
  std::vector<int64_t> order(n);
  for (int64_t i = 0; i < n; ++i) order[i] = i;
  for (int64_t i = n - 1; i > 0; --i) std::swap(order[i], order[random.below(i + 1)]);
  planted.vectors = at::randn({n, width}, generator, at::kFloat) * (spread * 0.02);
  for (int64_t i = 0; i < n; ++i) {
    int64_t tuple = order[i] % tuples;
    for (size_t level = sizes.size(); level-- > 0;) {
      planted.codes[level][i] = static_cast<int32_t>(tuple % sizes[level]);
      tuple /= sizes[level];
      planted.vectors[i] += centres[level][planted.codes[level][i]];
    }
  }
  return planted;
}

// Whether two labelings are the same up to the names of the labels.
inline bool same_partition(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  std::map<int32_t, int32_t> forth, back;
  for (size_t i = 0; i < a.size(); ++i) {
    if (forth.emplace(a[i], b[i]).first->second != b[i]) return false;
    if (back.emplace(b[i], a[i]).first->second != a[i]) return false;
  }
  return a.size() == b.size();
}

}  // namespace caravan::codes
