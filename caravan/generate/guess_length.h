// How many guesses of speculative decoding pay, from what became of the earlier ones; none where they only cost time.
//
//   GuessLength length(/*most=*/20, /*draft_cost=*/0.2);
//   int64_t n = length.next();           // this round's guesses
//   length.see(/*proposed=*/n, /*accepted=*/2);
//
// A round of g guesses, each right with probability a after right ones, brings (1 - a^(g+1)) / (1 - a) tokens
// (Leviathan et al. 2023) and costs the model's pass over g + 1 rows and g passes of the draft. The g with most tokens
// per cost is taken. Only counts decide, no clock: the same request gives the same random numbers in every run.
#pragma once

#include <cstdint>

namespace caravan::generate {

class GuessLength {
 public:
  // draft_cost: of a guess, in passes of the model over one row; 0 for guesses that are looked up.
  GuessLength(int64_t most, double draft_cost) : most_(most), draft_cost_(draft_cost) {}

  int64_t next();
  void see(int64_t proposed, int64_t accepted);
  double acceptance() const { return right_ / tried_; }

 private:
  double tokens_per_cost(int64_t guesses) const;
  int64_t most_;
  double draft_cost_;
  double right_ = 3, tried_ = 4;      // guesses of late rounds; at first some confidence
  int64_t idle_ = 0, patience_ = 16;  // rounds without a guess, and how many of them before another try
};

}  // namespace caravan::generate
