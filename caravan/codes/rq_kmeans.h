// Residual quantization by k-means (RQ-KMeans; OneRec 2506.13695, and faiss' ResidualQuantizer with beam 1): cluster
// the vectors, subtract the centroid, cluster what is left, level by level. An item's code is its clusters' numbers.
//
//   RqOptions options{.codebooks = {256, 256, 256}, .seed = 1};
//   ResidualCodes rq = rq_kmeans(vectors, options);               // vectors [N, D]
//   rq.codes[level][item], rq.quantizer.codebooks[level]          // [K, D']
//
// Before: by option principal components, whitened or not (raw text vectors collide badly). Residuals can be scaled to
// length 1 at every level (GRID), clusters kept to equal sizes (MiniOneRec's constrained RQ-KMeans).
#pragma once

#include <string>
#include <utility>

#include "caravan/codes/kmeans.h"

namespace caravan::codes {

struct RqOptions {
  std::vector<int64_t> codebooks = {256, 256, 256};  // size of each level's
  int64_t components = 0;                            // principal components kept first; 0: no projection
  bool whiten = false;                               // and scaled to equal variance
  bool normalize_residuals = false;
  KMeansOptions kmeans;  // clusters and seed are set per level
  uint64_t seed = 0;
  std::function<void(int64_t level, int iteration, double inertia)> progress;
};

// x -> (x - mean) projection: the space that codebooks live in.
struct Projection {
  Tensor mean;    // [D]
  Tensor matrix;  // [D, D']; undefined: none
  Tensor apply(const Tensor& x) const;
};

// What encodes vectors, these and new ones.
struct ResidualQuantizer {
  Projection projection;
  std::vector<Tensor> codebooks;  // [K_l, D']
  bool normalize_residuals = false;

  // codes[level][row], each the nearest centroid of the level's residual.
  std::vector<std::vector<int32_t>> encode(const Tensor& x) const;
  // What is left of (projected) rows after `level` codes, [N, D'], in the scale that the level's codebook has.
  Tensor residual(const Tensor& projected, const std::vector<std::vector<int32_t>>& codes, int64_t level) const;
  // Sum of the centroids, back in the projected space: [N, D']. `levels`: only the first of them.
  Tensor decode(const Tensor& projected, const std::vector<std::vector<int32_t>>& codes, int64_t levels) const;
};

struct ResidualCodes {
  ResidualQuantizer quantizer;
  std::vector<std::vector<int32_t>> codes;              // [levels][N]
  Tensor projected;                                     // [N, D'] the vectors as the quantizer saw them
  std::vector<std::pair<std::string, Tensor>> network;  // what made them of the vectors (RQ-VAE), to be saved
};

Projection principal_components(const Tensor& x, int64_t components, bool whiten);

ResidualCodes rq_kmeans(const Tensor& x, const RqOptions& options);

}  // namespace caravan::codes
