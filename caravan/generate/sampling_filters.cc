// Processors for sampling (transformers' "warpers"): they reshape or cut the distribution before a token is drawn. A
// cut token gets score -inf. Source: transformers 5 logits_process.py; Holtzman et al. 2020 (top-p), Meister et al.
// 2023 (typical), Hewitt et al. 2022 (epsilon, eta), Nguyen et al. 2024 (min-p), Potraghloo et al. 2025 (top-h).
// Softmax comes from libtorch, so probabilities equal transformers' bit by bit; cumulative sums run in double and are
// rounded to float, as torch.cumsum does on the CPU.
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "caravan/generate/logits_processor.h"

namespace caravan::generate {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

at::Tensor view(std::span<const float> row) {
  return at::from_blob(const_cast<float*>(row.data()), {std::ssize(row)}, at::kFloat);
}

// Probabilities of a row in `to`, resized as needed.
void softmax(std::span<const float> row, std::vector<float>& to) {
  to.resize(row.size());
  at::Tensor out = at::from_blob(to.data(), {std::ssize(to)}, at::kFloat);
  at::softmax_out(out, view(row), 0);
}

// Indices of the scores above -inf.
void finite_indices(std::span<const float> scores, std::vector<int32_t>& to) {
  to.clear();
  for (int32_t i = 0; i < std::ssize(scores); ++i) {
    if (scores[i] != kNever) to.push_back(i);
  }
}

// The k-th largest score; duplicates count. k is cut to the row's length.
float kth_largest(std::span<const float> scores, int64_t k, std::vector<float>& scratch) {
  scratch.assign(scores.begin(), scores.end());
  const auto nth = scratch.begin() + std::min<int64_t>(k, std::ssize(scratch)) - 1;
  std::nth_element(scratch.begin(), nth, scratch.end(), std::greater<>());
  return *nth;
}

void cut_below(std::span<float> scores, float threshold) {
  for (float& score : scores) score = score < threshold ? kNever : score;
}

class Temperature final : public LogitsProcessor {
 public:
  explicit Temperature(double temperature) : temperature_(static_cast<float>(temperature)) {}
  void apply(ScoreRow row) const override {
    for (float& score : row.scores) score /= temperature_;
  }

 private:
  float temperature_;
};

class TopK final : public LogitsProcessor {
 public:
  explicit TopK(int64_t k) : k_(k) {}
  void apply(ScoreRow row) const override {
    if (k_ < std::ssize(row.scores)) cut_below(row.scores, kth_largest(row.scores, k_, scratch_));
  }

 private:
  int64_t k_;
  mutable std::vector<float> scratch_;
};

// Cuts the tail whose probabilities, summed from the smallest, stay within 1 - p.
class TopP final : public LogitsProcessor {
 public:
  TopP(double p, int64_t keep) : tail_(static_cast<float>(1 - p)), keep_(keep) {}
  void apply(ScoreRow row) const override {
    if (!cut_quickly(row.scores)) cut_in_order(row.scores);
  }

 private:
  // As transformers does: all scores sorted, their softmax summed up.
  void cut_in_order(std::span<float> s) const {
    finite_indices(s, order_);
    sort_ascending(s);
    sorted_.clear();
    for (int32_t i : order_) sorted_.push_back(s[i]);
    softmax(sorted_, probabilities_);
    double cumulative = 0;
    for (int64_t i = 0; i + keep_ < std::ssize(order_); ++i) {
      cumulative += probabilities_[i];
      if (static_cast<float>(cumulative) <= tail_) s[order_[i]] = kNever;
    }
  }

  // The same without sorting what is certainly cut: tokens so improbable that all of them together stay within half of
  // the tail. Returns false, with nothing changed, where a sum comes so close to the bound that rounding could decide.
  bool cut_quickly(std::span<float> s) const {
    constexpr double kDoubt = 1e-5;
    softmax(s, probabilities_);
    const float certain = 0.5f * tail_ / static_cast<float>(s.size());
    double cumulative = 0;
    order_.clear();
    for (int32_t i = 0; i < std::ssize(s); ++i) {
      if (!(probabilities_[i] < certain))
        order_.push_back(i);
      else
        cumulative += probabilities_[i];
    }
    if (std::ssize(order_) < keep_ || std::ssize(order_) > std::ssize(s) / 2) return false;
    sort_ascending(s);
    int64_t cut = 0;  // of order_
    for (int64_t i = 0; i + keep_ < std::ssize(order_); ++i) {
      cumulative += probabilities_[order_[i]];
      if (!(std::abs(cumulative - tail_) > kDoubt)) return false;
      if (cumulative < tail_) cut = i + 1;
    }
    for (int64_t i = 0; i < cut; ++i) s[order_[i]] = kNever;
    for (size_t i = 0; i < s.size(); ++i) s[i] = probabilities_[i] < certain ? kNever : s[i];
    return true;
  }

  void sort_ascending(std::span<const float> s) const {
    std::stable_sort(order_.begin(), order_.end(), [s](int32_t a, int32_t b) { return s[a] < s[b]; });
  }

  float tail_;
  int64_t keep_;
  mutable std::vector<int32_t> order_;
  mutable std::vector<float> sorted_, probabilities_;
};

class MinP final : public LogitsProcessor {
 public:
  MinP(double p, int64_t keep) : p_(static_cast<float>(p)), keep_(keep) {}
  void apply(ScoreRow row) const override {
    softmax(row.scores, probabilities_);
    const float threshold = p_ * *std::max_element(probabilities_.begin(), probabilities_.end());
    const float kept = kth_largest(probabilities_, keep_, scratch_);
    for (size_t i = 0; i < row.scores.size(); ++i) {
      if (probabilities_[i] < threshold && probabilities_[i] < kept) row.scores[i] = kNever;
    }
  }

 private:
  float p_;
  int64_t keep_;
  mutable std::vector<float> probabilities_, scratch_;
};

// Keeps tokens in the order of |surprise - entropy| until their mass reaches `mass`.
class Typical final : public LogitsProcessor {
 public:
  Typical(double mass, int64_t keep) : mass_(static_cast<float>(mass)), keep_(keep) {}
  void apply(ScoreRow row) const override {
    const at::Tensor log_p = at::log_softmax(view(row.scores), 0);
    const float entropy = -(log_p * log_p.exp()).nansum().item<float>();
    const float* lp = log_p.const_data_ptr<float>();
    finite_indices(row.scores, order_);
    shifted_.resize(row.scores.size());
    for (int32_t i : order_) shifted_[i] = std::abs(-lp[i] - entropy);
    std::stable_sort(order_.begin(), order_.end(), [this](int32_t a, int32_t b) { return shifted_[a] < shifted_[b]; });
    sorted_.clear();
    for (int32_t i : order_) sorted_.push_back(row.scores[i]);
    softmax(sorted_, probabilities_);
    double cumulative = 0;
    int64_t last = 0;
    for (; last < std::ssize(order_); ++last) {
      cumulative += probabilities_[last];
      if (!(static_cast<float>(cumulative) < mass_)) break;
    }
    if (last >= std::ssize(order_)) return;
    const float threshold = shifted_[order_[last]];
    for (int64_t i = keep_; i < std::ssize(order_); ++i) {
      if (shifted_[order_[i]] > threshold) row.scores[order_[i]] = kNever;
    }
  }

 private:
  float mass_;
  int64_t keep_;
  mutable std::vector<int32_t> order_;
  mutable std::vector<float> shifted_, sorted_, probabilities_;
};

// Cuts probabilities below epsilon, or below min(epsilon, sqrt(epsilon) exp(-entropy)) (eta).
class Cutoff final : public LogitsProcessor {
 public:
  Cutoff(double epsilon, bool by_entropy, int64_t keep)
      : epsilon_(static_cast<float>(epsilon)), by_entropy_(by_entropy), keep_(keep) {}
  void apply(ScoreRow row) const override {
    softmax(row.scores, probabilities_);
    const float threshold = by_entropy_ ? eta(row.scores) : epsilon_;
    const float kept = kth_largest(row.scores, keep_, scratch_);
    for (size_t i = 0; i < row.scores.size(); ++i) {
      if (probabilities_[i] < threshold && row.scores[i] < kept) row.scores[i] = kNever;
    }
  }

 private:
  // The entropy of torch.distributions.Categorical: -inf scores count as the lowest float, their probability is 0.
  float eta(std::span<const float> scores) const {
    const at::Tensor log_p = at::log_softmax(view(scores), 0).clamp_min(std::numeric_limits<float>::lowest());
    const float entropy = -(log_p * view(probabilities_)).sum().item<float>();
    return std::min(epsilon_, std::sqrt(epsilon_) * std::exp(-entropy));
  }

  float epsilon_;
  bool by_entropy_;
  int64_t keep_;
  mutable std::vector<float> probabilities_, scratch_;
};

// Keeps the most probable tokens (of the first 100) while their summed entropy stays within top_h times the whole.
class TopH final : public LogitsProcessor {
 public:
  explicit TopH(double top_h) : top_h_(static_cast<float>(top_h)) {}
  void apply(ScoreRow row) const override {
    constexpr int64_t kTop = 100;
    const auto [top, index] = view(row.scores).topk(std::min<int64_t>(kTop, std::ssize(row.scores)));
    const at::Tensor log_p = at::log_softmax(top, 0), p = at::softmax(top, 0);
    const float entropy = -(log_p.clamp_min(std::numeric_limits<float>::lowest()) * p).sum().item<float>();
    const at::Tensor terms = -p * p.log();
    kept_.assign(row.scores.size(), false);
    double cumulative = 0;
    for (int64_t i = 0; i < terms.numel(); ++i) {
      cumulative += terms.const_data_ptr<float>()[i];
      if (i > 0 && !(static_cast<float>(cumulative) <= entropy * top_h_)) break;
      kept_[index.const_data_ptr<int64_t>()[i]] = true;
    }
    for (size_t i = 0; i < row.scores.size(); ++i) {
      if (!kept_[i]) row.scores[i] = kNever;
    }
  }

 private:
  float top_h_;
  mutable std::vector<bool> kept_;
};

class Renormalize final : public LogitsProcessor {
 public:
  void apply(ScoreRow row) const override {
    at::Tensor scores = view(row.scores);
    scores.copy_(at::log_softmax(scores, 0));
  }
};

}  // namespace

std::unique_ptr<LogitsProcessor> temperature(double value) { return std::make_unique<Temperature>(value); }
std::unique_ptr<LogitsProcessor> top_h(double value) { return std::make_unique<TopH>(value); }
std::unique_ptr<LogitsProcessor> top_k(int64_t k, int64_t keep) { return std::make_unique<TopK>(std::max(k, keep)); }
std::unique_ptr<LogitsProcessor> top_p(double p, int64_t keep) { return std::make_unique<TopP>(p, keep); }
std::unique_ptr<LogitsProcessor> min_p(double p, int64_t keep) { return std::make_unique<MinP>(p, keep); }
std::unique_ptr<LogitsProcessor> typical_p(double mass, int64_t keep) { return std::make_unique<Typical>(mass, keep); }
std::unique_ptr<LogitsProcessor> epsilon_cutoff(double e, int64_t keep) {
  return std::make_unique<Cutoff>(e, false, keep);
}
std::unique_ptr<LogitsProcessor> eta_cutoff(double e, int64_t keep) { return std::make_unique<Cutoff>(e, true, keep); }
std::unique_ptr<LogitsProcessor> renormalize() { return std::make_unique<Renormalize>(); }

}  // namespace caravan::generate
