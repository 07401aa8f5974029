#include "caravan/codes/co_occurrence.h"

#include <algorithm>
#include <cmath>

#include "caravan/base/error.h"

namespace caravan::codes {
namespace {

// Adds up the pairs of a row range at a time, so that the list of pairs never holds much more than the result.
class PairSums {
 public:
  explicit PairSums(int64_t items) : rows_(static_cast<size_t>(items)) {}
  void add(int32_t row, int32_t column, float value) {
    auto& entries = rows_[static_cast<size_t>(row)];
    entries.emplace_back(column, value);
    if (entries.size() >= kCompact && entries.size() == entries.capacity()) compact(entries);
  }
  SparseMatrix matrix() {
    SparseMatrix m;
    m.columns = static_cast<int64_t>(rows_.size());
    for (auto& entries : rows_) {
      m.append_row(std::move(entries));
      entries = {};
    }
    return m;
  }

 private:
  static constexpr size_t kCompact = 1024;
  using Entries = std::vector<std::pair<int32_t, float>>;
  // Equal columns become one entry, in the order of arrival within a column: the sums do not depend on when.
  static void compact(Entries& entries) {
    std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    size_t kept = 0;
    for (const auto& entry : entries) {
      if (kept > 0 && entries[kept - 1].first == entry.first) {
        entries[kept - 1].second += entry.second;
      } else {
        entries[kept++] = entry;
      }
    }
    entries.resize(kept);
    entries.reserve(2 * std::max(kept, kCompact));
  }
  std::vector<Entries> rows_;
};

std::vector<double> row_sums(const SparseMatrix& m) {
  std::vector<double> sums(static_cast<size_t>(m.rows), 0.0);
  for (int64_t row = 0; row < m.rows; ++row) {
    for (int64_t e = m.starts[row]; e < m.starts[row + 1]; ++e) sums[row] += m.values[e];
  }
  return sums;
}

void to_cosine(SparseMatrix& m) {
  const std::vector<double> sums = row_sums(m);
  for (int64_t row = 0; row < m.rows; ++row) {
    for (int64_t e = m.starts[row]; e < m.starts[row + 1]; ++e) {
      m.values[e] = static_cast<float>(m.values[e] / std::sqrt(sums[row] * sums[m.indices[e]]));
    }
  }
}

SparseMatrix to_ppmi(const SparseMatrix& m, const CoOccurrenceOptions& options) {
  const std::vector<double> sums = row_sums(m);
  double contexts = 0;
  for (double s : sums) contexts += std::pow(s, options.alpha);
  SparseMatrix out;
  out.columns = m.columns;
  for (int64_t row = 0; row < m.rows; ++row) {
    std::vector<std::pair<int32_t, float>> entries;
    for (int64_t e = m.starts[row]; e < m.starts[row + 1]; ++e) {
      const double context = std::pow(sums[m.indices[e]], options.alpha) / contexts;
      const double pmi = std::log(m.values[e] / (sums[row] * context)) - std::log(options.shift);
      if (pmi > 0) entries.emplace_back(m.indices[e], static_cast<float>(pmi));
    }
    out.append_row(std::move(entries));
  }
  return out;
}

}  // namespace

SparseMatrix co_occurrence(std::span<const std::vector<int32_t>> sequences, int64_t items,
                           const CoOccurrenceOptions& options) {
  check(options.window >= 0 && options.shift > 0, ErrorCode::invalid_argument,
        "co-occurrence: the window must not be negative and the shift must be positive, got {} and {}", options.window,
        options.shift);
  PairSums sums(items);
  constexpr size_t kPolledSequences = 64;
  for (size_t s = 0; s < sequences.size(); ++s) {
    if (options.poll && s % kPolledSequences == 0) options.poll();
    const std::vector<int32_t>& sequence = sequences[s];
    for (size_t i = 0; i < sequence.size(); ++i) {
      check(sequence[i] >= 0 && sequence[i] < items, ErrorCode::invalid_argument,
            "co-occurrence: item {} in a sequence, but there are {} items", sequence[i], items);
      const size_t reach = options.window == 0 ? i : std::min<size_t>(i, static_cast<size_t>(options.window));
      for (size_t j = i - reach; j < i; ++j) {
        if (sequence[i] == sequence[j]) continue;
        const float worth = options.by_distance ? 1.0f / static_cast<float>(i - j) : 1.0f;
        sums.add(sequence[i], sequence[j], worth);
        sums.add(sequence[j], sequence[i], worth);
      }
    }
  }
  SparseMatrix m = sums.matrix();
  if (options.weighting == Weighting::cosine) to_cosine(m);
  return options.weighting == Weighting::ppmi ? to_ppmi(m, options) : m;
}

}  // namespace caravan::codes
