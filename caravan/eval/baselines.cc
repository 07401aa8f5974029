#include "caravan/eval/baselines.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "caravan/base/error.h"

namespace caravan::eval {
namespace {

using data::Dataset;

// Rows of (item, weight): what follows, or resembles, each item.
struct SparseRows {
  std::vector<uint64_t> begins{0};
  std::vector<int32_t> items;
  std::vector<float> weights;
};

// Items by training popularity, ties by index; what fills the places behind the items with a score.
std::vector<int32_t> by_popularity(const std::vector<int64_t>& counts) {
  std::vector<int32_t> order(counts.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    const int64_t x = counts[static_cast<size_t>(a)], y = counts[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  });
  return order;
}

std::vector<int64_t> training_counts(const Dataset& data) {
  std::vector<int64_t> counts;
  for (const items::Item& item : data.items) counts.push_back(item.count);
  return counts;
}

// Recommends by sparse rows: sums them over the last items, takes the best, fills up by popularity. The scratch space
// is made once a call, and only what was touched is cleaned.
class RowRecommender {
 public:
  RowRecommender(SparseRows rows, std::vector<int32_t> popular, int64_t last, double decay)
      : rows_(std::move(rows)), popular_(std::move(popular)), last_(last), decay_(decay) {}

  std::vector<std::vector<int32_t>> operator()(std::span<const Request> requests, int64_t k) const {
    Scratch scratch{std::vector<double>(popular_.size(), 0.0), std::vector<bool>(popular_.size(), false), {}};
    std::vector<std::vector<int32_t>> ranked;
    for (const Request& request : requests) ranked.push_back(rank(request, static_cast<size_t>(k), scratch));
    return ranked;
  }

 private:
  struct Scratch {
    std::vector<double> scores;  // 0: untouched, weights are positive
    std::vector<bool> barred;
    std::vector<int32_t> touched;
  };

  void add_row(int32_t item, double weight, Scratch& scratch) const {
    const auto row = static_cast<size_t>(item);
    for (uint64_t at = rows_.begins[row]; at < rows_.begins[row + 1]; ++at) {
      double& score = scratch.scores[static_cast<size_t>(rows_.items[at])];
      if (score == 0) scratch.touched.push_back(rows_.items[at]);
      score += weight * static_cast<double>(rows_.weights[at]);
    }
  }

  std::vector<int32_t> rank(const Request& request, size_t k, Scratch& scratch) const {
    const auto history = request.history;
    double weight = 1;
    for (size_t d = 0; d < std::min(history.size(), static_cast<size_t>(last_)); ++d, weight *= decay_)
      add_row(history[history.size() - 1 - d], weight, scratch);
    for (const int32_t item : request.exclude) scratch.barred[static_cast<size_t>(item)] = true;

    std::vector<int32_t> best;
    for (const int32_t item : scratch.touched) {
      if (!scratch.barred[static_cast<size_t>(item)]) best.push_back(item);
    }
    const auto better = [&](int32_t a, int32_t b) {
      const double x = scratch.scores[static_cast<size_t>(a)], y = scratch.scores[static_cast<size_t>(b)];
      return x != y ? x > y : a < b;
    };
    const size_t n = std::min(k, best.size());
    std::partial_sort(best.begin(), best.begin() + static_cast<int64_t>(n), best.end(), better);
    best.resize(n);
    for (size_t i = 0; i < popular_.size() && best.size() < k; ++i) {
      const auto item = static_cast<size_t>(popular_[i]);
      if (scratch.scores[item] == 0 && !scratch.barred[item]) best.push_back(popular_[i]);
    }
    for (const int32_t item : scratch.touched) scratch.scores[static_cast<size_t>(item)] = 0;
    for (const int32_t item : request.exclude) scratch.barred[static_cast<size_t>(item)] = false;
    scratch.touched.clear();
    return best;
  }

  SparseRows rows_;
  std::vector<int32_t> popular_;
  int64_t last_;
  double decay_;
};

// The copyable function that Recommender wants, around data that is not worth copying.
Recommender shared(SparseRows rows, const Dataset& data, int64_t last, double decay) {
  auto recommender =
      std::make_shared<const RowRecommender>(std::move(rows), by_popularity(training_counts(data)), last, decay);
  return [recommender](std::span<const Request> requests, int64_t k) { return (*recommender)(requests, k); };
}

// Adds up weights per item, then appends them as a row: the `limit` largest, ties by index.
class RowBuilder {
 public:
  explicit RowBuilder(int64_t items) : sums_(static_cast<size_t>(items), 0.0) {}
  void add(int32_t item, double weight) {
    double& sum = sums_[static_cast<size_t>(item)];
    if (sum == 0) touched_.push_back(item);
    sum += weight;
  }
  template <class Scale>
  void finish(SparseRows& rows, const Scale& scale, size_t limit) {
    for (const int32_t item : touched_) sums_[static_cast<size_t>(item)] *= scale(item);
    const auto larger = [&](int32_t a, int32_t b) {
      const double x = sums_[static_cast<size_t>(a)], y = sums_[static_cast<size_t>(b)];
      return x != y ? x > y : a < b;
    };
    const size_t n = std::min(limit, touched_.size());
    if (n < touched_.size())
      std::nth_element(touched_.begin(), touched_.begin() + static_cast<int64_t>(n), touched_.end(), larger);
    for (size_t i = 0; i < n; ++i) {
      rows.items.push_back(touched_[i]);
      rows.weights.push_back(static_cast<float>(sums_[static_cast<size_t>(touched_[i])]));
    }
    rows.begins.push_back(rows.items.size());
    for (const int32_t item : touched_) sums_[static_cast<size_t>(item)] = 0;
    touched_.clear();
  }

 private:
  std::vector<double> sums_;
  std::vector<int32_t> touched_;
};

// Each item's places in the training parts: (user, place) pairs, item after item.
struct Occurrences {
  std::vector<uint64_t> begins;
  std::vector<std::pair<int32_t, int32_t>> places;
};

// `parts` is what is looked at of each user: the training sequence, or its distinct items.
Occurrences find_occurrences(const std::vector<std::vector<int32_t>>& parts, int64_t items) {
  Occurrences found;
  found.begins.assign(static_cast<size_t>(items) + 1, 0);
  for (const auto& part : parts) {
    for (const int32_t item : part) ++found.begins[static_cast<size_t>(item) + 1];
  }
  for (size_t i = 1; i < found.begins.size(); ++i) found.begins[i] += found.begins[i - 1];
  found.places.resize(found.begins.back());
  std::vector<uint64_t> at(found.begins.begin(), found.begins.end() - 1);
  for (size_t u = 0; u < parts.size(); ++u) {
    for (size_t p = 0; p < parts[u].size(); ++p)
      found.places[at[static_cast<size_t>(parts[u][p])]++] = {static_cast<int32_t>(u), static_cast<int32_t>(p)};
  }
  return found;
}

std::vector<std::vector<int32_t>> training_parts(const Dataset& data, bool distinct) {
  std::vector<std::vector<int32_t>> parts(static_cast<size_t>(data.user_count()));
  for (size_t u = 0; u < parts.size(); ++u) {
    const auto history = data.train_history(static_cast<int64_t>(u));
    parts[u].assign(history.begin(), history.end());
    if (!distinct) continue;
    std::sort(parts[u].begin(), parts[u].end());
    parts[u].erase(std::unique(parts[u].begin(), parts[u].end()), parts[u].end());
  }
  return parts;
}

void check_options(int64_t last, double decay) {
  check(last > 0, ErrorCode::invalid_argument, "a baseline needs at least the last item, got {}", last);
  check(decay > 0 && decay <= 1, ErrorCode::invalid_argument, "the decay must lie in (0, 1], got {}", decay);
}

template <class Options>
Options with(const BaselineOptions& chosen) {
  Options options;
  options.last = chosen.last.value_or(options.last);
  options.decay = chosen.decay.value_or(options.decay);
  return options;
}

struct Baseline {
  std::string name;
  Recommender (*make)(const Dataset& data, const BaselineOptions& options);
};

const std::vector<Baseline>& baselines() {
  static const std::vector<Baseline> all = {
      {"popularity", [](const Dataset& data, const BaselineOptions&) { return popularity(data, Counts::training); }},
      {"popularity-all", [](const Dataset& data, const BaselineOptions&) { return popularity(data, Counts::all); }},
      {"markov",
       [](const Dataset& data, const BaselineOptions& options) { return markov(data, with<MarkovOptions>(options)); }},
      {"item-knn", [](const Dataset& data,
                      const BaselineOptions& options) { return item_knn(data, with<ItemKnnOptions>(options)); }},
  };
  return all;
}

}  // namespace

Recommender popularity(const Dataset& data, Counts which) {
  std::vector<int64_t> counts = training_counts(data);
  if (which == Counts::all) {
    std::fill(counts.begin(), counts.end(), 0);
    for (int64_t u = 0; u < data.user_count(); ++u) {
      for (const int32_t item : data.sequence(u)) ++counts[static_cast<size_t>(item)];
    }
  }
  return [popular = by_popularity(counts)](std::span<const Request> requests, int64_t k) {
    std::vector<std::vector<int32_t>> ranked;
    for (const Request& request : requests) {
      const std::vector<int32_t> excluded = [&] {
        std::vector<int32_t> sorted(request.exclude.begin(), request.exclude.end());
        std::sort(sorted.begin(), sorted.end());
        return sorted;
      }();
      std::vector<int32_t>& best = ranked.emplace_back();
      for (size_t i = 0; i < popular.size() && static_cast<int64_t>(best.size()) < k; ++i) {
        if (!std::binary_search(excluded.begin(), excluded.end(), popular[i])) best.push_back(popular[i]);
      }
    }
    return ranked;
  };
}

Recommender markov(const Dataset& data, const MarkovOptions& options) {
  check_options(options.last, options.decay);
  const auto parts = training_parts(data, false);
  const Occurrences found = find_occurrences(parts, data.items.size());
  SparseRows rows;
  RowBuilder builder(data.items.size());
  for (int64_t i = 0; i < data.items.size(); ++i) {
    for (uint64_t at = found.begins[static_cast<size_t>(i)]; at < found.begins[static_cast<size_t>(i) + 1]; ++at) {
      const auto& part = parts[static_cast<size_t>(found.places[at].first)];
      const auto next = static_cast<size_t>(found.places[at].second) + 1;
      if (next < part.size()) builder.add(part[next], 1.0);
    }
    builder.finish(
        rows, [](int32_t) { return 1.0; }, static_cast<size_t>(data.items.size()));
  }
  return shared(std::move(rows), data, options.last, options.decay);
}

Recommender item_knn(const Dataset& data, const ItemKnnOptions& options) {
  check_options(options.last, options.decay);
  check(options.neighbours > 0, ErrorCode::invalid_argument, "item-knn needs at least one neighbour, got {}",
        options.neighbours);
  const auto parts = training_parts(data, true);
  const Occurrences found = find_occurrences(parts, data.items.size());
  const auto users_of = [&](int64_t item) {
    return static_cast<double>(found.begins[static_cast<size_t>(item) + 1] - found.begins[static_cast<size_t>(item)]);
  };
  SparseRows rows;
  RowBuilder builder(data.items.size());
  for (int64_t i = 0; i < data.items.size(); ++i) {
    for (uint64_t at = found.begins[static_cast<size_t>(i)]; at < found.begins[static_cast<size_t>(i) + 1]; ++at) {
      const auto& part = parts[static_cast<size_t>(found.places[at].first)];
      const double weight = 1.0 / std::log1p(static_cast<double>(part.size()));
      for (const int32_t j : part) {
        if (j != i) builder.add(j, weight);
      }
    }
    const double own = users_of(i);
    builder.finish(
        rows, [&](int32_t j) { return 1.0 / std::sqrt(own * users_of(j)); }, static_cast<size_t>(options.neighbours));
  }
  return shared(std::move(rows), data, options.last, options.decay);
}

const std::vector<std::string>& baseline_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Baseline& baseline : baselines()) all.push_back(baseline.name);
    return all;
  }();
  return names;
}

Recommender find_baseline(const std::string& name, const Dataset& data, const BaselineOptions& options) {
  for (const Baseline& baseline : baselines()) {
    if (baseline.name == name) return baseline.make(data, options);
  }
  fail(ErrorCode::invalid_argument, "unknown baseline '{}'; there are {}", name, fmt::join(baseline_names(), ", "));
}

}  // namespace caravan::eval
