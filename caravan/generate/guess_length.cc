#include "caravan/generate/guess_length.h"

#include <algorithm>
#include <cmath>

namespace caravan::generate {
namespace {

constexpr double kMemory = 0.9;         // what a round's counts weigh a round later
constexpr int64_t kLongestPause = 256;  // rounds
constexpr double kRoundCost = 0.1;      // of checking any guesses: such a pass is not fused as a plain one is
constexpr int64_t kFreeRows = 4;        // a pass over so many rows waits for the weights, not for arithmetic
constexpr double kRowCost = 0.1;        // of each further one, in passes over one row (measured on two cores)

}  // namespace

double GuessLength::tokens_per_cost(int64_t guesses) const {
  const double a = acceptance(), rows = static_cast<double>(guesses + 1);
  const double tokens = a < 1 ? (1 - std::pow(a, rows)) / (1 - a) : rows;
  const double further = static_cast<double>(std::max<int64_t>(guesses + 1 - kFreeRows, 0));
  const double check = guesses > 0 ? kRoundCost : 0;
  return tokens / (1 + check + kRowCost * further + draft_cost_ * static_cast<double>(guesses));
}

int64_t GuessLength::next() {
  int64_t best = 0;
  double most_tokens = tokens_per_cost(0);
  for (int64_t g = 1; g <= most_; ++g) {
    if (const double tokens = tokens_per_cost(g); tokens > most_tokens) best = g, most_tokens = tokens;
  }
  if (best > 0) {
    patience_ = 16;
    return best;
  }
  if (++idle_ < patience_) return 0;
  idle_ = 0;
  patience_ = std::min(2 * patience_, kLongestPause);
  return std::min<int64_t>(most_, 2);
}

void GuessLength::see(int64_t proposed, int64_t accepted) {
  if (proposed == 0) return;
  right_ = kMemory * right_ + static_cast<double>(accepted);
  tried_ = kMemory * tried_ + static_cast<double>(std::min(accepted + 1, proposed));  // up to the first wrong one
}

}  // namespace caravan::generate
