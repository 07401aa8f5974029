// Perplexity of a text and the divergence between two models on it: which tokens are scored in which windows, and what
// is made of their log probabilities. Models stay outside: they come as numbers.
//
//   for (const Window& w : llama_windows(tokens, 512)) score tokens [w.first, w.end) given [w.begin, w.first);
//   perplexity.add(-log_probability);                     // then perplexity.value(), .uncertainty()
//
// Sources: llama.cpp's tools/perplexity (windows, uncertainty, divergence); transformers' documentation, "Perplexity of
// fixed-length models" (strided windows, but for the weights there: see strided_windows).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "caravan/base/json.h"

namespace caravan::eval {

// The tokens [begin, end) go through the model at once; those from `first` on are scored.
struct Window {
  int64_t begin = 0, first = 0, end = 0;
  bool operator==(const Window&) const = default;
};

// Windows of `context` tokens one after another; the second half of each is scored but for its first token, so that
// each has at least half a window before it. What is left over is not read. Throws invalid_argument where there is no
// window.
std::vector<Window> llama_windows(int64_t tokens, int64_t context);

// Windows that start `stride` tokens after another and end at the text's end; each scores what the ones before did not,
// so that no token is scored twice. The first of a window has nothing before it: it is scored only where an earlier
// window reached it (the text's first never, and no window's at a stride of the whole context). Every token counts the
// same; transformers' recipe takes the mean of each window and weighs the later ones with one token less than they
// score.
std::vector<Window> strided_windows(int64_t tokens, int64_t context, int64_t stride);

class Perplexity {
 public:
  void add(double negative_log_probability);
  int64_t count() const { return count_; }
  double mean() const;         // nats a token
  double value() const;        // exp(mean); infinite beyond the range of a double, at some 709 nats
  double uncertainty() const;  // one standard error of value(), tokens taken for independent

 private:
  int64_t count_ = 0;
  double sum_ = 0, squares_ = 0;
};

// Two models on the same tokens: p is the reference, q what is measured.
class Divergence {
 public:
  struct Token {
    double kl = 0;                // sum_v p(v) ln(p(v) / q(v)), nats
    bool same_top = false;        // both find the same token the likeliest
    double p_nll = 0, q_nll = 0;  // of the token that stands in the text
  };
  void add(const Token& token);
  int64_t count() const { return static_cast<int64_t>(kl_.size()); }
  double mean() const;
  double mean_uncertainty() const;
  double quantile(double q) const;   // of kl, linear between neighbours
  double same_top() const;           // part in [0, 1]
  double ratio() const;              // perplexity of q over that of p
  double ratio_uncertainty() const;  // one standard error, from the differences token by token
  Json to_json() const;

 private:
  std::vector<double> kl_;
  double kl_sum_ = 0, kl_squares_ = 0, difference_ = 0, difference_squares_ = 0;
  int64_t same_ = 0;
};

// Row by row over logits [rows, V]: ln of the probability of targets[row].
void log_probabilities(std::span<const float> logits, std::span<const int32_t> targets, std::span<double> out);

// One row of each model: p and q [V], the target's log probabilities included.
Divergence::Token divergence(std::span<const float> p, std::span<const float> q, int32_t target);

}  // namespace caravan::eval
