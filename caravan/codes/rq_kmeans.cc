#include "caravan/codes/rq_kmeans.h"

#include <torch/torch.h>

#include "caravan/base/error.h"
#include "caravan/codes/linear_algebra.h"

namespace caravan::codes {
namespace {

Tensor rows_of(const Tensor& codebook, const std::vector<int32_t>& codes) {
  return codebook.index_select(0, at::tensor(codes, at::kInt).to(at::kLong));
}

Tensor lengths_of(const Tensor& x) { return x.norm(2, 1, /*keepdim=*/true).clamp_min(1e-12); }

}  // namespace

Tensor Projection::apply(const Tensor& x) const {
  const Tensor centred = x.to(at::kFloat) - mean;
  return matrix.defined() ? product(centred, matrix) : centred.contiguous();
}

Projection principal_components(const Tensor& x, int64_t components, bool whiten) {
  const SingleThread single;
  Projection projection;
  const Tensor wide = x.to(at::kDouble);
  const Tensor mean = wide.mean(0);
  projection.mean = mean.to(at::kFloat);
  if (components <= 0) return projection;
  const Tensor centred = wide - mean;
  const Tensor covariance = at::matmul(centred.transpose(0, 1), centred) / static_cast<double>(x.size(0));
  const auto [variance, vectors] = at::linalg_eigh(covariance);  // ascending
  const int64_t kept = std::min(components, x.size(1));
  Tensor matrix = vectors.flip(1).slice(1, 0, kept);
  // Directions of (nearly) no variance would be noise blown up: they are left at their own scale.
  const Tensor top = variance.flip(0).slice(0, 0, kept);
  const double floor = std::max(top[0].item<double>() * 1e-6, 1e-12);
  if (whiten) matrix = matrix / at::where(top > floor, top.sqrt(), at::ones_like(top));
  projection.matrix = matrix.to(at::kFloat).contiguous();
  return projection;
}

Tensor ResidualQuantizer::residual(const Tensor& projected, const std::vector<std::vector<int32_t>>& codes,
                                   int64_t level) const {
  Tensor rest = projected;
  for (int64_t l = 0; l < level; ++l) {
    rest = rest - rows_of(codebooks[l], codes[l]);
    if (normalize_residuals) rest = rest / lengths_of(rest);
  }
  return rest;
}

Tensor ResidualQuantizer::decode(const Tensor& projected, const std::vector<std::vector<int32_t>>& codes,
                                 int64_t levels) const {
  Tensor sum = at::zeros_like(projected), rest = projected, scale = at::ones({projected.size(0), 1});
  for (int64_t l = 0; l < levels; ++l) {
    const Tensor centroid = rows_of(codebooks[l], codes[l]);
    sum = sum + scale * centroid;
    rest = rest - centroid;
    if (!normalize_residuals) continue;
    const Tensor length = lengths_of(rest);
    rest = rest / length;
    scale = scale * length;
  }
  return sum;
}

std::vector<std::vector<int32_t>> ResidualQuantizer::encode(const Tensor& x) const {
  const torch::NoGradGuard no_grad;
  const Tensor projected = projection.apply(x);
  std::vector<std::vector<int32_t>> codes;
  Tensor rest = projected;
  for (const Tensor& codebook : codebooks) {
    codes.push_back(nearest(rest.contiguous(), codebook).index);
    rest = rest - rows_of(codebook, codes.back());
    if (normalize_residuals) rest = rest / lengths_of(rest);
  }
  return codes;
}

ResidualCodes rq_kmeans(const Tensor& x, const RqOptions& options) {
  check(x.dim() == 2 && x.size(0) > 0 && x.size(1) > 0, ErrorCode::invalid_argument,
        "RQ-KMeans: vectors [items, width] are expected");
  check(!options.codebooks.empty(), ErrorCode::invalid_argument, "RQ-KMeans: at least one level is expected");
  check(options.components >= 0 && options.components <= x.size(1), ErrorCode::invalid_argument,
        "RQ-KMeans: {} principal components of vectors of width {}: expected 0 to {} (--pca)", options.components,
        x.size(1), x.size(1));
  const torch::NoGradGuard no_grad;
  ResidualCodes result;
  ResidualQuantizer& quantizer = result.quantizer;
  const int64_t components = options.whiten && options.components == 0 ? x.size(1) : options.components;
  quantizer.projection = principal_components(x, components, options.whiten);
  quantizer.normalize_residuals = options.normalize_residuals;
  result.projected = quantizer.projection.apply(x);
  Tensor rest = result.projected;
  for (size_t level = 0; level < options.codebooks.size(); ++level) {
    KMeansOptions own = options.kmeans;
    own.clusters = options.codebooks[level];
    own.seed = options.seed * 1'000'003 + level;
    if (options.progress) {
      own.progress = [&, level](int iteration, double inertia) {
        options.progress(static_cast<int64_t>(level), iteration, inertia);
      };
    }
    KMeans found = kmeans(rest, own);
    rest = rest - rows_of(found.centroids, found.assignment);
    if (options.normalize_residuals) rest = rest / lengths_of(rest);
    quantizer.codebooks.push_back(found.centroids);
    result.codes.push_back(std::move(found.assignment));
  }
  return result;
}

}  // namespace caravan::codes
