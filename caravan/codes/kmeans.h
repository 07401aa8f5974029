// k-means with k-means++ seeding (Arthur & Vassilvitskii 2007, with scikit-learn's greedy trials), revival of empty
// clusters, restarts, and by option clusters of limited size.
//
//   KMeans result = kmeans(x, {.clusters = 256, .seed = 1});     // x [N, D]
//   result.assignment[i], result.centroids                       // [K, D]
//
// The same seed gives the same bits for every number of threads. Fewer distinct points than clusters: the rest of the
// clusters stay empty, with a centroid of their own on a repeated point. Left out: mini-batches, Elkan's bounds.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "caravan/codes/linear_algebra.h"

namespace caravan::codes {

struct KMeansOptions {
  int64_t clusters = 256;
  int max_iterations = 50;
  double tolerance = 1e-4;  // stops where the inertia falls by a smaller share
  int restarts = 1;         // the best of these by inertia
  // No cluster holds more than ceil(N / K * (1 + slack)) points; negative: no limit.
  double balance_slack = -1.0;
  uint64_t seed = 0;
  std::function<void(int iteration, double inertia)> progress;
  Poll poll = {};  // also while centroids are seeded
};

struct KMeans {
  Tensor centroids;                 // [K, D]
  std::vector<int32_t> assignment;  // [N]
  double inertia = 0;               // sum of squared distances to the own centroid
  int iterations = 0, revived = 0;  // revived: empty clusters that got a far point
};

// Throws invalid_argument: no rows, non-finite values, fewer than one cluster, capacity for fewer than all points.
KMeans kmeans(const Tensor& x, const KMeansOptions& options);

// The nearest row of `centroids` for each row of x (the lowest index among equals), and its squared distance.
struct Nearest {
  std::vector<int32_t> index;
  std::vector<float> distance;
};
Nearest nearest(const Tensor& x, const Tensor& centroids, const Poll& poll = {});

// Squared distances [N, K], never negative.
Tensor squared_distances(const Tensor& x, const Tensor& centroids);

}  // namespace caravan::codes
