#include "caravan/eval/perplexity.h"

#include <algorithm>
#include <cmath>

#include "caravan/base/error.h"

namespace caravan::eval {
namespace {

// Standard error of a mean, from sums over n numbers.
double standard_error(double sum, double squares, double n) {
  if (n < 2) return 0;
  const double mean = sum / n, variance = squares / n - mean * mean;
  return variance > 0 ? std::sqrt(variance / (n - 1)) : 0.0;
}

struct Row {
  size_t top = 0;
  double log_sum = 0;  // ln sum exp
};

Row summarize(std::span<const float> logits) {
  Row row{.top = static_cast<size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin())};
  const float highest = logits[row.top];
  double sum = 0;
  for (const float v : logits) sum += static_cast<double>(std::exp(v - highest));
  row.log_sum = static_cast<double>(highest) + std::log(sum);
  return row;
}

}  // namespace

std::vector<Window> llama_windows(int64_t tokens, int64_t context) {
  check(context >= 4, ErrorCode::invalid_argument, "a window needs at least 4 tokens, got {}", context);
  check(tokens >= context, ErrorCode::invalid_argument,
        "the text has {} tokens, a window {}: give a longer text or a shorter context", tokens, context);
  std::vector<Window> windows;
  for (int64_t begin = 0; begin + context <= tokens; begin += context) {
    windows.push_back({.begin = begin, .first = begin + context / 2 + 1, .end = begin + context});
  }
  return windows;
}

std::vector<Window> strided_windows(int64_t tokens, int64_t context, int64_t stride) {
  check(context >= 2 && stride >= 1 && stride <= context, ErrorCode::invalid_argument,
        "a stride lies between 1 and the context, got {} of {}", stride, context);
  check(tokens >= 2, ErrorCode::invalid_argument, "the text has {} tokens; two are the least", tokens);
  std::vector<Window> windows;
  int64_t done = 0;
  for (int64_t begin = 0; begin < tokens; begin += stride) {
    const int64_t end = std::min(begin + context, tokens), first = std::max(done, begin + 1);
    if (first < end) windows.push_back({begin, first, end});
    done = end;
    if (end == tokens) break;
  }
  return windows;
}

void Perplexity::add(double negative_log_probability) {
  ++count_;
  sum_ += negative_log_probability;
  squares_ += negative_log_probability * negative_log_probability;
}

double Perplexity::mean() const { return count_ > 0 ? sum_ / static_cast<double>(count_) : 0.0; }
double Perplexity::value() const { return std::exp(mean()); }
double Perplexity::uncertainty() const { return value() * standard_error(sum_, squares_, static_cast<double>(count_)); }

void Divergence::add(const Token& token) {
  const double kl = std::max(0.0, token.kl), difference = token.q_nll - token.p_nll;
  kl_.push_back(kl);
  kl_sum_ += kl, kl_squares_ += kl * kl;
  difference_ += difference, difference_squares_ += difference * difference;
  same_ += token.same_top ? 1 : 0;
}

double Divergence::mean() const { return kl_.empty() ? 0.0 : kl_sum_ / static_cast<double>(count()); }
double Divergence::mean_uncertainty() const {
  return standard_error(kl_sum_, kl_squares_, static_cast<double>(count()));
}

double Divergence::quantile(double q) const {
  if (kl_.empty()) return 0;
  std::vector<double> sorted = kl_;
  std::sort(sorted.begin(), sorted.end());
  const double at = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

double Divergence::same_top() const {
  return kl_.empty() ? 0.0 : static_cast<double>(same_) / static_cast<double>(count());
}
double Divergence::ratio() const { return kl_.empty() ? 1.0 : std::exp(difference_ / static_cast<double>(count())); }
double Divergence::ratio_uncertainty() const {
  return ratio() * standard_error(difference_, difference_squares_, static_cast<double>(count()));
}

Json Divergence::to_json() const {
  return {{"kl_mean", mean()},           {"kl_mean_uncertainty", mean_uncertainty()},
          {"kl_median", quantile(0.5)},  {"kl_99", quantile(0.99)},
          {"kl_max", quantile(1)},       {"same_top", same_top()},
          {"perplexity_ratio", ratio()}, {"perplexity_ratio_uncertainty", ratio_uncertainty()}};
}

void log_probabilities(std::span<const float> logits, std::span<const int32_t> targets, std::span<double> out) {
  const size_t width = logits.size() / targets.size();
  for (size_t i = 0; i < targets.size(); ++i) {
    const std::span<const float> row = logits.subspan(i * width, width);
    out[i] = static_cast<double>(row[static_cast<size_t>(targets[i])]) - summarize(row).log_sum;
  }
}

Divergence::Token divergence(std::span<const float> p, std::span<const float> q, int32_t target) {
  const Row a = summarize(p), b = summarize(q);
  // ln p(v) = p[v] - a.log_sum, so ln(p / q) = p[v] - q[v] + shift
  const auto p_shift = static_cast<float>(a.log_sum);
  const double shift = b.log_sum - a.log_sum;
  double sum = 0, mass = 0;
  for (size_t v = 0; v < p.size(); ++v) {
    const float probability = std::exp(p[v] - p_shift);
    sum += static_cast<double>(probability * (p[v] - q[v]));
    mass += static_cast<double>(probability);
  }
  sum += mass * shift;
  const auto at = static_cast<size_t>(target);
  return {.kl = sum,
          .same_top = a.top == b.top,
          .p_nll = a.log_sum - static_cast<double>(p[at]),
          .q_nll = b.log_sum - static_cast<double>(q[at])};
}

}  // namespace caravan::eval
