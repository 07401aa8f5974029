// Scores are compared as transformers computes them: fp32 sums, torch.topk. A full torch.topk over beams x V entries is
// needed only where equal scores make its order matter; otherwise a threshold pass finds the same candidates.
#include "caravan/generate/candidates.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>

namespace caravan::generate {
namespace {

// [beams, V] sums, as transformers' log_probs + running_beam_scores[:, None].
Tensor accumulate(const Tensor& log_probabilities, std::span<const float> scores) {
  const Tensor running = at::from_blob(const_cast<float*>(scores.data()), {std::ssize(scores), 1}, at::kFloat);
  return log_probabilities + running;
}

Candidate candidate_at(int64_t index, int64_t vocab_size, float score) {
  return {.beam = index / vocab_size, .token = static_cast<int32_t>(index % vocab_size), .score = score};
}

std::vector<Candidate> by_torch(const Tensor& log_probabilities, std::span<const float> scores, int64_t count) {
  const auto [values, indices] = accumulate(log_probabilities, scores).flatten().topk(count);
  std::vector<Candidate> out;
  for (int64_t i = 0; i < count; ++i) {
    out.push_back(candidate_at(indices.const_data_ptr<int64_t>()[i], log_probabilities.size(1),
                               values.const_data_ptr<float>()[i]));
  }
  return out;
}

// Keeps the best `count` so far in a heap whose top is the worst kept.
class Best {
 public:
  explicit Best(size_t count) : count_(count) { heap_.reserve(count + 1); }
  float worst() const { return heap_.size() < count_ ? -std::numeric_limits<float>::infinity() : heap_.front().score; }
  void add(const Candidate& candidate) {
    heap_.push_back(candidate);
    std::push_heap(heap_.begin(), heap_.end(), better);
    if (heap_.size() <= count_) return;
    std::pop_heap(heap_.begin(), heap_.end(), better);
    heap_.pop_back();
  }
  std::vector<Candidate> sorted() && {
    std::sort_heap(heap_.begin(), heap_.end(), better);
    return std::move(heap_);
  }

 private:
  static bool better(const Candidate& a, const Candidate& b) { return a.score > b.score; }
  size_t count_;
  std::vector<Candidate> heap_;
};

}  // namespace

std::vector<Candidate> best_candidates(const Tensor& log_probabilities, std::span<const float> scores, int64_t count) {
  const int64_t rows = log_probabilities.size(0), width = log_probabilities.size(1);
  count = std::min(count, std::ssize(scores) * width);
  // One more than needed, to see whether the last one kept equals the first one cut.
  Best best(static_cast<size_t>(count) + 1);
  bool plain = true;  // no NaN met
  for (int64_t beam = 0; beam < std::ssize(scores); ++beam) {
    if (rows == 1 && scores[beam] <= kMinusBillion) break;  // after the prompt only the first beam counts
    const float* row = log_probabilities.const_data_ptr<float>() + (rows == 1 ? 0 : beam) * width;
    const float score = scores[beam];
    float worst = best.worst();
    for (int64_t token = 0; token < width; ++token) {
      const float sum = row[token] + score;
      if (!(sum < worst)) {
        plain = plain && !std::isnan(sum);
        best.add({.beam = beam, .token = static_cast<int32_t>(token), .score = sum});
        worst = best.worst();
      }
    }
  }
  std::vector<Candidate> found = std::move(best).sorted();
  const auto tied = [](const Candidate& a, const Candidate& b) { return a.score == b.score; };
  plain = plain && std::ssize(found) >= count && found[count - 1].score > kMinusBillion / 2 &&
          std::adjacent_find(found.begin(), found.end(), tied) == found.end();
  if (!plain) return by_torch(log_probabilities, scores, count);
  found.resize(count);
  return found;
}

std::vector<Candidate> drawn_candidates(const Tensor& log_probabilities, std::span<const float> scores, int64_t count,
                                        Random& random) {
  const Tensor sums = accumulate(log_probabilities, scores).flatten();
  const Tensor probabilities = at::softmax(sums, 0);
  count = std::min(count, sums.numel());
  const float* p = probabilities.const_data_ptr<float>();
  // An exponential race: the first `count` arrivals of clocks with rates p are a draw without replacement.
  std::vector<std::pair<double, int64_t>> arrivals;
  std::vector<int64_t> impossible;
  for (int64_t i = 0; i < sums.numel(); ++i) {
    if (p[i] > 0) {
      arrivals.emplace_back(random.exponential() / p[i], i);
    } else if (std::ssize(impossible) < count) {
      impossible.push_back(i);
    }
  }
  const int64_t drawn = std::min(count, std::ssize(arrivals));
  std::partial_sort(arrivals.begin(), arrivals.begin() + drawn, arrivals.end());
  std::vector<Candidate> out;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t index = i < drawn ? arrivals[i].second : impossible[i - drawn];
    out.push_back(candidate_at(index, log_probabilities.size(1), sums.const_data_ptr<float>()[index]));
  }
  return out;
}

std::vector<int64_t> largest(std::span<const float> values, int64_t count) {
  const Tensor all = at::from_blob(const_cast<float*>(values.data()), {std::ssize(values)}, at::kFloat);
  const Tensor indices = std::get<1>(all.topk(count));
  return {indices.const_data_ptr<int64_t>(), indices.const_data_ptr<int64_t>() + count};
}

Tensor processed_log_probabilities(Task& task, const Tensor& logits, std::span<const std::span<const int32_t>> ids) {
  task.recorder.see_logits(logits);
  const Tensor log_probabilities = at::log_softmax(logits, -1);
  float* data = log_probabilities.mutable_data_ptr<float>();
  const size_t width = static_cast<size_t>(logits.size(1));
  std::vector<ScoreRow> rows;
  for (int64_t r = 0; r < logits.size(0); ++r) rows.push_back({{data + r * width, width}, ids[r]});
  task.processors.apply(rows);
  task.recorder.see_scores(log_probabilities);
  return log_probabilities;
}

std::vector<nn::CacheSequence> inherit(std::vector<nn::CacheSequence> parents, std::span<const int64_t> parent_of) {
  std::vector<int64_t> children(parents.size());
  for (int64_t parent : parent_of) ++children[parent];
  std::vector<nn::CacheSequence> out;
  for (int64_t parent : parent_of) {
    out.push_back(--children[parent] == 0 ? std::move(parents[parent]) : parents[parent].fork());
  }
  return out;
}

}  // namespace caravan::generate
