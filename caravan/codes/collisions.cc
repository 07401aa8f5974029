#include "caravan/codes/collisions.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "caravan/base/error.h"
#include "caravan/codes/balanced_assignment.h"

namespace caravan::codes {
namespace {

Tensor rows(const Tensor& x, const std::vector<int32_t>& items) {
  return x.index_select(0, at::tensor(items, at::kInt).to(at::kLong));
}

// -1, 0, 1 as the first `levels` codes of a stand before, with or after those of b.
int compare(const CodeTable& table, int64_t levels, int32_t a, int32_t b) {
  for (int64_t l = 0; l < levels; ++l) {
    if (table.codes[l][a] != table.codes[l][b]) return table.codes[l][a] < table.codes[l][b] ? -1 : 1;
  }
  return 0;
}

int64_t count_changes(const std::vector<std::vector<int32_t>>& before, const CodeTable& after) {
  int64_t changed = 0;
  for (int64_t i = 0; i < after.items(); ++i) {
    bool same = true;
    for (size_t l = 0; l < before.size(); ++l) same = same && before[l][i] == after.codes[l][i];
    changed += same ? 0 : 1;
  }
  return changed;
}

// Items under one prefix get different codes of the last level, near their residuals.
void deal_out(CodeTable& table, const ResidualCodes& vectors, const Tensor& residual, const std::vector<int32_t>& items,
              const Poll& poll) {
  const int64_t last = table.levels() - 1;
  const Tensor costs = squared_distances(rows(residual, items).contiguous(), vectors.quantizer.codebooks[last]);
  const std::vector<int32_t> dealt = balanced_assignment(costs, {.capacity = 1, .tolerance = 5e-3, .poll = poll});
  for (size_t i = 0; i < items.size(); ++i) table.codes[last][items[i]] = dealt[i];
}

bool has_repetition(const CodeTable& table, const std::vector<int32_t>& items) {
  std::vector<int32_t> codes;
  for (int32_t item : items) codes.push_back(table.codes.back()[item]);
  std::sort(codes.begin(), codes.end());
  return std::adjacent_find(codes.begin(), codes.end()) != codes.end();
}

// Moves items between prefixes that differ in their level `level` code until no prefix of level + 1 codes holds more
// than `room` items. Prefixes of `level` codes must hold no more than their share already.
void make_room(CodeTable& table, const ResidualCodes& vectors, int64_t level, int64_t room, const Poll& poll) {
  const Tensor residual = vectors.quantizer.residual(vectors.projected, table.codes, level);
  const auto parents = level == 0 ? std::vector<std::vector<int32_t>>{[&] {
    std::vector<int32_t> all(table.items());
    std::iota(all.begin(), all.end(), 0);
    return all;
  }()}
                                  : buckets_of(table, level);
  for (const std::vector<int32_t>& items : parents) {
    std::vector<int64_t> sizes(table.sizes[level], 0);
    for (int32_t item : items) ++sizes[table.codes[level][item]];
    if (*std::max_element(sizes.begin(), sizes.end()) <= room) continue;
    const Tensor costs = squared_distances(rows(residual, items).contiguous(), vectors.quantizer.codebooks[level]);
    const std::vector<int32_t> chosen = balanced_assignment(costs, {.capacity = room, .tolerance = 5e-3, .poll = poll});
    for (size_t i = 0; i < items.size(); ++i) table.codes[level][items[i]] = chosen[i];
  }
}

}  // namespace

std::vector<std::vector<int32_t>> buckets_of(const CodeTable& table, int64_t levels) {
  std::vector<int32_t> order(table.items());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return compare(table, levels, a, b) < 0; });
  std::vector<std::vector<int32_t>> buckets;
  for (int32_t item : order) {
    if (buckets.empty() || compare(table, levels, buckets.back()[0], item) != 0) buckets.emplace_back();
    buckets.back().push_back(item);
  }
  return buckets;
}

void append_counter(CodeTable& table, std::span<const int64_t> popularity) {
  check(popularity.empty() || static_cast<int64_t>(popularity.size()) == table.items(), ErrorCode::invalid_argument,
        "collision counter: {} popularities for {} items", popularity.size(), table.items());
  std::vector<int32_t> counter(table.items(), 0);
  size_t largest = 1;
  for (std::vector<int32_t>& bucket : buckets_of(table, table.levels())) {
    if (!popularity.empty()) {
      std::stable_sort(bucket.begin(), bucket.end(),
                       [&](int32_t a, int32_t b) { return popularity[a] > popularity[b]; });
    }
    for (size_t i = 0; i < bucket.size(); ++i) counter[bucket[i]] = static_cast<int32_t>(i);
    largest = std::max(largest, bucket.size());
  }
  table.codes.push_back(std::move(counter));
  table.sizes.push_back(static_cast<int64_t>(largest));
}

int64_t reassign(CodeTable& table, const ResidualCodes& vectors, const Poll& poll) {
  const int64_t levels = table.levels();
  double tuples = 1;
  for (int64_t size : table.sizes) tuples *= static_cast<double>(size);
  check(tuples >= static_cast<double>(table.items()), ErrorCode::invalid_argument,
        "reassigning codes: {} items, but only {:.0f} tuples; add a level or enlarge the codebooks", table.items(),
        tuples);
  const auto before = table.codes;
  const torch::NoGradGuard no_grad;
  // How many items fit under a prefix of level + 1 codes: the tuples that continue it.
  for (int64_t level = 0; level + 1 < levels; ++level) {
    double room = 1;
    for (int64_t l = level + 1; l < levels; ++l) room *= static_cast<double>(table.sizes[l]);
    make_room(table, vectors, level, static_cast<int64_t>(std::min(room, static_cast<double>(table.items()))), poll);
  }
  const Tensor residual = vectors.quantizer.residual(vectors.projected, table.codes, levels - 1);
  const bool single = levels == 1;
  for (const std::vector<int32_t>& items : buckets_of(table, single ? 0 : levels - 1)) {
    if (has_repetition(table, items)) deal_out(table, vectors, residual, items, poll);
  }
  return count_changes(before, table);
}

std::vector<int32_t> sinkhorn_assignment(const Tensor& costs, const SinkhornOptions& options) {
  const Tensor d = costs.to(at::kDouble).contiguous();
  const int64_t n = d.size(0), width = d.size(1);
  const double* from = d.const_data_ptr<double>();
  const auto [low, high] = std::minmax_element(from, from + n * width);
  const double middle = (*low + *high) / 2, amplitude = *high - middle + 1e-5;
  std::vector<double> q(n * width);  // the plan; small, so plain loops beat an op each
  for (int64_t i = 0; i < n * width; ++i) q[i] = std::exp(-(from[i] - middle) / amplitude / options.epsilon);
  std::vector<double> sums(width);
  for (int round = 0; round < options.iterations; ++round) {
    std::fill(sums.begin(), sums.end(), 0.0);
    for (int64_t i = 0; i < n; ++i) {
      double* row = q.data() + i * width;
      const double sum = std::max(std::accumulate(row, row + width, 0.0), 1e-300) * static_cast<double>(n);
      for (int64_t k = 0; k < width; ++k) sums[k] += row[k] /= sum;
    }
    for (double& sum : sums) sum = std::max(sum, 1e-300) * static_cast<double>(width);
    for (int64_t i = 0; i < n * width; ++i) q[i] /= sums[i % width];
  }
  std::vector<int32_t> best(n);
  for (int64_t i = 0; i < n; ++i) {
    const double* row = q.data() + i * width;
    best[i] = static_cast<int32_t>(std::max_element(row, row + width) - row);
  }
  return best;
}

int64_t sinkhorn_reassign(CodeTable& table, const ResidualCodes& vectors, const SinkhornOptions& options) {
  const auto before = table.codes;
  const torch::NoGradGuard no_grad;
  const int64_t last = table.levels() - 1;
  const Tensor residual = vectors.quantizer.residual(vectors.projected, table.codes, last);
  for (int round = 0; round < options.rounds; ++round) {
    bool collided = false;
    for (const std::vector<int32_t>& items : buckets_of(table, table.levels())) {
      if (items.size() < 2) continue;
      if (options.poll) options.poll();
      collided = true;
      const Tensor costs = squared_distances(rows(residual, items).contiguous(), vectors.quantizer.codebooks[last]);
      const std::vector<int32_t> chosen = sinkhorn_assignment(costs, options);
      for (size_t i = 0; i < items.size(); ++i) table.codes[last][items[i]] = chosen[i];
    }
    if (!collided) break;
  }
  return count_changes(before, table);
}

}  // namespace caravan::codes
