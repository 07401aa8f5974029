#include "caravan/codes/kmeans.h"

#include <torch/torch.h>

#include <cmath>
#include <numeric>
#include <optional>

#include "caravan/base/error.h"
#include "caravan/codes/balanced_assignment.h"
#include "caravan/ops/threads.h"

namespace caravan::codes {
namespace {

constexpr int64_t kSeedPoints = 64;  // per cluster: what k-means++ looks at, at most

Tensor squared_lengths(const Tensor& x) { return x.square().sum(1); }

// k-means++: every next centroid is drawn with a probability proportional to the squared distance to the nearest so
// far, the best of 2 + ln K draws.
class Seeding {
 public:
  Seeding(const Tensor& x, uint64_t seed, const Poll& poll) : x_(x), random_(seed), poll_(poll), closest_(x.size(0)) {}

  Tensor run(int64_t clusters) {
    const int trials = 2 + static_cast<int>(std::log(static_cast<double>(clusters)));
    std::vector<int64_t> chosen = {static_cast<int64_t>(random_.below(x_.size(0)))};
    take(distances_to({chosen[0]}), 0);
    while (static_cast<int64_t>(chosen.size()) < clusters) chosen.push_back(draw_best(trials));
    return x_.index_select(0, at::tensor(chosen, at::kLong));
  }

 private:
  Tensor distances_to(const std::vector<int64_t>& rows) {
    return squared_distances(x_, x_.index_select(0, at::tensor(rows, at::kLong))).transpose(0, 1).contiguous();
  }
  void take(const Tensor& distances, int64_t row) {
    const float* d = distances[row].const_data_ptr<float>();
    closest_.assign(d, d + x_.size(0));
  }
  int64_t draw_best(int trials) {
    if (poll_) poll_();
    std::vector<double> sums(closest_.size());
    double total = 0;
    for (size_t i = 0; i < closest_.size(); ++i) sums[i] = total += closest_[i];
    std::vector<int64_t> rows;
    for (int t = 0; t < trials; ++t) {
      const double at = random_.uniform() * total;
      const auto found = std::upper_bound(sums.begin(), sums.end(), at);
      rows.push_back(std::min<int64_t>(found - sums.begin(), x_.size(0) - 1));
    }
    Tensor candidates = distances_to(rows);  // [trials, N]
    int64_t best = 0;
    double least = std::numeric_limits<double>::infinity();
    for (int t = 0; t < trials; ++t) {
      float* d = candidates[t].mutable_data_ptr<float>();
      double sum = 0;
      for (size_t i = 0; i < closest_.size(); ++i) sum += d[i] = std::min(d[i], closest_[i]);
      if (sum < least) least = sum, best = t;
    }
    take(candidates, best);
    return rows[best];
  }

  const Tensor& x_;
  Random random_;
  const Poll& poll_;
  std::vector<float> closest_;  // squared distance to the nearest centroid
};

// Every k-th row of a seeded shuffle where there are more points than seeding needs.
Tensor seeding_points(const Tensor& x, const KMeansOptions& options) {
  const int64_t wanted = options.clusters * kSeedPoints;
  if (x.size(0) <= wanted) return x;
  Random random(options.seed ^ 0x5eed);
  std::vector<int64_t> rows(x.size(0));
  std::iota(rows.begin(), rows.end(), 0);
  for (int64_t i = 0; i < wanted; ++i) std::swap(rows[i], rows[i + random.below(x.size(0) - i)]);
  rows.resize(wanted);
  return x.index_select(0, at::tensor(rows, at::kLong));
}

// Means in double, summed in row order within every column, so that threads cannot change them.
void update_centroids(const Tensor& x, const std::vector<int32_t>& assignment, Tensor& centroids) {
  const int64_t n = x.size(0), width = x.size(1), clusters = centroids.size(0);
  std::vector<double> sums(clusters * width, 0.0);
  std::vector<int64_t> sizes(clusters, 0);
  for (int32_t k : assignment) ++sizes[k];
  const float* rows = x.const_data_ptr<float>();
  ops::parallel_pieces(width, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = 0; i < n; ++i) {
      double* sum = sums.data() + assignment[i] * width;
      for (int64_t j = begin; j < end; ++j) sum[j] += rows[i * width + j];
    }
  });
  float* out = centroids.mutable_data_ptr<float>();
  for (int64_t k = 0; k < clusters; ++k) {
    if (sizes[k] == 0) continue;  // stays where it was
    for (int64_t j = 0; j < width; ++j) {
      out[k * width + j] = static_cast<float>(sums[k * width + j] / static_cast<double>(sizes[k]));
    }
  }
}

// An empty cluster takes the point that is farthest from its own centroid, out of a cluster with more than one.
int revive_empty(Nearest& found, int64_t clusters) {
  std::vector<int64_t> sizes(clusters, 0);
  for (int32_t k : found.index) ++sizes[k];
  std::vector<int64_t> order;
  int revived = 0;
  size_t next = 0;
  for (int64_t k = 0; k < clusters; ++k) {
    if (sizes[k] > 0) continue;
    if (order.empty()) {
      order.resize(found.index.size());
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(),
                       [&](int64_t a, int64_t b) { return found.distance[a] > found.distance[b]; });
    }
    while (next < order.size() && sizes[found.index[order[next]]] < 2) ++next;
    if (next == order.size() || found.distance[order[next]] <= 0) break;  // nothing left that is off its centroid
    const int64_t point = order[next++];
    --sizes[found.index[point]];
    found.index[point] = static_cast<int32_t>(k);
    found.distance[point] = 0;
    sizes[k] = 1;
    ++revived;
  }
  return revived;
}

std::optional<int64_t> capacity_of(const Tensor& x, const KMeansOptions& options) {
  if (options.balance_slack < 0) return std::nullopt;
  const double fair = static_cast<double>(x.size(0)) / static_cast<double>(options.clusters);
  return static_cast<int64_t>(std::ceil(fair * (1.0 + options.balance_slack) - 1e-9));
}

Nearest assign(const Tensor& x, const Tensor& centroids, std::optional<int64_t> capacity, const Poll& poll) {
  if (!capacity) return nearest(x, centroids, poll);
  Nearest found;
  const Tensor distances = squared_distances(x, centroids);
  found.index = balanced_assignment(distances, {.capacity = *capacity, .poll = poll});
  const float* d = distances.const_data_ptr<float>();
  for (size_t i = 0; i < found.index.size(); ++i) found.distance.push_back(d[i * centroids.size(0) + found.index[i]]);
  return found;
}

KMeans run_once(const Tensor& x, const KMeansOptions& options, uint64_t seed) {
  KMeans result;
  const Tensor points = seeding_points(x, options);
  result.centroids = Seeding(points, seed, options.poll).run(options.clusters).contiguous();
  const auto capacity = capacity_of(x, options);
  double before = std::numeric_limits<double>::infinity();
  for (result.iterations = 1;; ++result.iterations) {
    Nearest found = assign(x, result.centroids, capacity, options.poll);
    result.inertia = 0;
    for (float d : found.distance) result.inertia += d;
    const int revived = capacity ? 0 : revive_empty(found, options.clusters);
    result.revived += revived;
    result.assignment = std::move(found.index);
    if (options.progress) options.progress(result.iterations, result.inertia);
    const bool settled = result.iterations > 1 && before - result.inertia <= options.tolerance * before && revived == 0;
    if (settled || result.iterations >= options.max_iterations) break;
    before = result.inertia;
    update_centroids(x, result.assignment, result.centroids);
  }
  return result;
}

}  // namespace

Tensor squared_distances(const Tensor& x, const Tensor& centroids) {
  Tensor d = product(x, centroids.transpose(0, 1));  // [N, K]
  d.mul_(-2).add_(squared_lengths(x).unsqueeze(1)).add_(squared_lengths(centroids).unsqueeze(0));
  return d.clamp_min_(0);
}

Nearest nearest(const Tensor& x, const Tensor& centroids, const Poll& poll) {
  constexpr int64_t kRows = 4096;  // distances of so many rows are held at once
  const int64_t n = x.size(0), clusters = centroids.size(0);
  Nearest found{std::vector<int32_t>(n), std::vector<float>(n)};
  for (int64_t first = 0; first < n; first += kRows) {
    if (poll) poll();
    const int64_t last = std::min(first + kRows, n);
    const Tensor block = squared_distances(x.slice(0, first, last), centroids);
    const float* d = block.const_data_ptr<float>();
    ops::parallel_pieces(last - first, 128, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const float* row = d + i * clusters;
        const float* least = std::min_element(row, row + clusters);
        found.index[first + i] = static_cast<int32_t>(least - row);
        found.distance[first + i] = *least;
      }
    });
  }
  return found;
}

KMeans kmeans(const Tensor& x, const KMeansOptions& options) {
  check(x.dim() == 2 && x.size(0) > 0 && options.clusters > 0 && options.max_iterations > 0 && options.restarts > 0,
        ErrorCode::invalid_argument,
        "k-means: {} clusters of {} points: both must be positive, as must the "
        "iterations and restarts",
        options.clusters, x.dim() == 2 ? x.size(0) : 0);
  const torch::NoGradGuard no_grad;
  const Tensor points = x.to(at::kFloat).contiguous();
  check(at::isfinite(points).all().item<bool>(), ErrorCode::invalid_argument,
        "k-means: the vectors hold values that are not finite");
  KMeans best;
  for (int i = 0; i < options.restarts; ++i) {
    KMeans next = run_once(points, options, options.seed + 0x9e3779b97f4a7c15ull * static_cast<uint64_t>(i));
    if (i == 0 || next.inertia < best.inertia) best = std::move(next);
  }
  return best;
}

}  // namespace caravan::codes
