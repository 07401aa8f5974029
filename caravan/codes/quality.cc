#include "caravan/codes/quality.h"

#include <fmt/format.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "caravan/codes/linear_algebra.h"

namespace caravan::codes {
namespace {

constexpr int64_t kNeighbours = 10;

double perplexity_of(const std::vector<int64_t>& counts) {
  double total = 0, entropy = 0;
  for (int64_t c : counts) total += static_cast<double>(c);
  for (int64_t c : counts) {
    if (c > 0) entropy -= static_cast<double>(c) / total * std::log(static_cast<double>(c) / total);
  }
  return std::exp(entropy);
}

LevelQuality measure_level(const CodeTable& table, int64_t level) {
  LevelQuality q{.size = table.sizes[level]};
  std::vector<int64_t> counts(q.size, 0);
  for (int32_t code : table.codes[level]) ++counts[code];
  q.used = q.size - std::count(counts.begin(), counts.end(), 0);
  q.perplexity = perplexity_of(counts);
  double pairs = 0;
  for (const auto& bucket : buckets_of(table, level + 1)) {
    const auto n = static_cast<int64_t>(bucket.size());
    q.largest_prefix = std::max(q.largest_prefix, n);
    ++q.prefixes;
    pairs += static_cast<double>(n) * static_cast<double>(n - 1);
  }
  const auto n = static_cast<double>(table.items());
  q.neighbours_chance = n > 1 ? pairs / (n * (n - 1)) : 0.0;
  return q;
}

std::vector<int64_t> sample_rows(int64_t items, int64_t wanted) {
  const int64_t n = wanted <= 0 ? items : std::min(items, wanted);
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < n; ++i) rows.push_back(i * items / n);
  return rows;
}

// The rows' nearest other rows by cosine, [rows, neighbours].
Tensor nearest_neighbours(const Tensor& x, const std::vector<int64_t>& rows, int64_t neighbours) {
  const Tensor unit = x / x.norm(2, 1, true).clamp_min(1e-12);
  const Tensor columns = unit.transpose(0, 1).contiguous();
  constexpr size_t kBlock = 512;
  std::vector<Tensor> found;
  for (size_t first = 0; first < rows.size(); first += kBlock) {
    const std::vector<int64_t> block(rows.begin() + first, rows.begin() + std::min(first + kBlock, rows.size()));
    const Tensor ids = at::tensor(block, at::kLong);
    Tensor cosine = product(unit.index_select(0, ids), columns);
    cosine.scatter_(1, ids.unsqueeze(1), -2.0);  // not its own neighbour
    found.push_back(std::get<1>(cosine.topk(neighbours, 1)));
  }
  return at::cat(found);
}

double shared_share(const Tensor& a, const Tensor& b) {
  const int64_t n = a.size(0), k = a.size(1);
  const auto x = a.accessor<int64_t, 2>(), y = b.accessor<int64_t, 2>();
  int64_t hits = 0;
  for (int64_t i = 0; i < n; ++i) {
    std::set<int64_t> own;
    for (int64_t j = 0; j < k; ++j) own.insert(x[i][j]);
    for (int64_t j = 0; j < k; ++j) hits += own.count(y[i][j]) > 0 ? 1 : 0;
  }
  return static_cast<double>(hits) / static_cast<double>(n * k);
}

void measure_neighbours(const CodeTable& table, const QualityInputs& inputs, Quality& quality) {
  const int64_t neighbours = std::min(kNeighbours, table.items() - 1);
  if (neighbours < 1) return;
  const auto rows = sample_rows(table.items(), inputs.neighbour_sample);
  quality.neighbour_sample = static_cast<int64_t>(rows.size());
  const Tensor found = nearest_neighbours(inputs.vectors, rows, neighbours);
  const auto near = found.accessor<int64_t, 2>();
  std::vector<int64_t> shared(table.levels(), 0);
  for (size_t i = 0; i < rows.size(); ++i) {
    for (int64_t j = 0; j < neighbours; ++j) {
      for (int64_t l = 0; l < table.levels() && table.codes[l][rows[i]] == table.codes[l][near[i][j]]; ++l) ++shared[l];
    }
  }
  const double pairs = static_cast<double>(rows.size()) * static_cast<double>(neighbours);
  for (int64_t l = 0; l < table.levels(); ++l) quality.levels[l].neighbours = static_cast<double>(shared[l]) / pairs;
  if (inputs.quantizer == nullptr) return;
  const ResidualCodes& rq = *inputs.quantizer;
  const auto levels = static_cast<int64_t>(rq.quantizer.codebooks.size());
  const Tensor sums = rq.quantizer.decode(rq.projected, table.codes, levels);
  quality.neighbour_recall = shared_share(found, nearest_neighbours(sums, rows, neighbours));
}

void measure_errors(const CodeTable& table, const ResidualCodes& rq, Quality& quality) {
  const Tensor centred = rq.projected - rq.projected.mean(0);
  const double total = centred.to(at::kDouble).square().sum().item<double>();
  const auto levels = std::min<int64_t>(table.levels(), static_cast<int64_t>(rq.quantizer.codebooks.size()));
  for (int64_t l = 0; l < levels; ++l) {
    const Tensor rest = rq.projected - rq.quantizer.decode(rq.projected, table.codes, l + 1);
    quality.levels[l].error = total > 0 ? rest.to(at::kDouble).square().sum().item<double>() / total : 0.0;
  }
}

}  // namespace

Quality measure_quality(const CodeTable& table, const QualityInputs& inputs) {
  const torch::NoGradGuard no_grad;
  Quality q{.items = table.items()};
  if (q.items == 0) return q;
  for (int64_t level = 0; level < table.levels(); ++level) q.levels.push_back(measure_level(table, level));
  for (const auto& bucket : buckets_of(table, table.levels())) {
    if (q.bucket_sizes.size() <= bucket.size()) q.bucket_sizes.resize(bucket.size() + 1, 0);
    ++q.bucket_sizes[bucket.size()];
    ++q.tuples;
    if (bucket.size() > 1) q.colliding_items += static_cast<int64_t>(bucket.size());
  }
  q.largest_bucket = static_cast<int64_t>(q.bucket_sizes.size()) - 1;
  q.collision_rate = 1.0 - static_cast<double>(q.tuples) / static_cast<double>(q.items);
  if (inputs.quantizer != nullptr) measure_errors(table, *inputs.quantizer, q);
  if (inputs.vectors.defined()) measure_neighbours(table, inputs, q);
  return q;
}

std::string to_text(const Quality& q) {
  std::string out =
      "level  codes   used  perplexity  prefixes  largest   error left  neighbours under the prefix (chance)\n";
  for (size_t i = 0; i < q.levels.size(); ++i) {
    const LevelQuality& l = q.levels[i];
    out += fmt::format(
        "{:>5}  {:>5}  {:>4.0f}%  {:>10.1f}  {:>8}  {:>7}  {:>11}  {}\n", i + 1, l.size,
        100.0 * static_cast<double>(l.used) / static_cast<double>(l.size), l.perplexity, l.prefixes, l.largest_prefix,
        l.error < 0 ? "-" : fmt::format("{:.1f}%", 100 * l.error),
        l.neighbours < 0 ? "-" : fmt::format("{:.1f}% ({:.2f}%)", 100 * l.neighbours, 100 * l.neighbours_chance));
  }
  if (q.neighbour_recall >= 0) {
    out += fmt::format("recall@{} of nearest neighbours through the codes' centroids: {:.1f}% ({} items asked)\n",
                       kNeighbours, 100 * q.neighbour_recall, q.neighbour_sample);
  }
  return out;
}

Json to_json(const Quality& q) {
  Json levels = Json::array();
  const auto known = [](double v) { return v < 0 ? Json() : Json(v); };
  for (const LevelQuality& l : q.levels) {
    levels.push_back({{"size", l.size},
                      {"used", l.used},
                      {"usage", static_cast<double>(l.used) / static_cast<double>(l.size)},
                      {"perplexity", l.perplexity},
                      {"prefixes", l.prefixes},
                      {"largest_prefix", l.largest_prefix},
                      {"reconstruction_error", known(l.error)},
                      {"neighbours_sharing_prefix", known(l.neighbours)},
                      {"neighbours_by_chance", l.neighbours_chance}});
  }
  return {{"items", q.items},
          {"tuples", q.tuples},
          {"collision_rate", q.collision_rate},
          {"colliding_items", q.colliding_items},
          {"largest_bucket", q.largest_bucket},
          {"bucket_sizes", q.bucket_sizes},
          {"levels", levels},
          {"neighbour_recall_at_10", known(q.neighbour_recall)},
          {"neighbour_sample", q.neighbour_sample}};
}

}  // namespace caravan::codes
